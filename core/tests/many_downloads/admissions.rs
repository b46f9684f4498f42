//! Which row an accepted download becomes: one writer a destination, one row a source.

use crate::world::*;
use regrip_core::engine::{Accepted, Admission, NewUrl, admission};
use regrip_core::record::{DigestRow, NewDownload, Source, Terms};
use regrip_core::store::{OpenPart, PartStore};
use regrip_core::testing::{Piece, new_download};
use regrip_core::{Algorithm, DownloadId, DownloadsConfig, Error, OnExists, Row, Status};

const OTHER: &str = "http://other.example/film.mkv";

fn peers(item: &str, url: &str) -> Source {
    Source::Peer {
        peer_id: "0badcafe".to_owned(),
        peer_name: "north".to_owned(),
        item_id: item.to_owned(),
        url: url.to_owned(),
    }
}

fn row(id: DownloadId, url: &str, status: Status, claimed: bool) -> Row {
    let mut row = Row::new(id, new_download(url, FILE));
    row.status = status;
    row.claimed = claimed;
    row
}

#[test]
fn what_an_accepted_download_becomes() {
    use Admission::{Busy, Known, New, Retry};
    let new = new_download(URL, FILE);
    let unfinished = [Status::Queued, Status::Downloading, Status::Waiting, Status::Committing];
    for status in unfinished {
        assert_eq!(admission(&[row(1, URL, status, true)], &new, NewUrl::Refused), Known(1), "{status:?}");
        assert_eq!(admission(&[row(1, OTHER, status, true)], &new, NewUrl::Refused), Busy(1), "{status:?}");
        let finished = row(2, URL, Status::Failed, true);
        assert_eq!(admission(&[finished, row(1, OTHER, status, true)], &new, NewUrl::Refused), Busy(1));
    }
    for status in [Status::Completed, Status::ImportQueued] {
        assert_eq!(admission(&[row(1, URL, status, true)], &new, NewUrl::Refused), New, "{status:?}");
        assert_eq!(admission(&[row(1, OTHER, status, true)], &new, NewUrl::Refused), New, "{status:?}");
    }
    for status in [Status::Failed, Status::Cancelled] {
        for claimed in [true, false] {
            assert_eq!(admission(&[row(1, URL, status, claimed)], &new, NewUrl::Refused), Retry(1), "{status:?}");
        }
        // Its part is there: another source must not take the destination behind its back.
        assert_eq!(admission(&[row(1, OTHER, status, true)], &new, NewUrl::Refused), Busy(1), "{status:?}");
        assert_eq!(admission(&[row(1, OTHER, status, false)], &new, NewUrl::Refused), New, "{status:?}");
        // One that was completed since is new work.
        let rows = [row(2, URL, Status::Completed, true), row(1, URL, status, false)];
        assert_eq!(admission(&rows, &new, NewUrl::Refused), New, "{status:?}");
    }
    assert_eq!(admission(&[], &new, NewUrl::Refused), New);
    let mut ahead = row(1, URL, Status::Queued, true);
    ahead.durable = 9;
    assert_eq!(admission(&[row(2, URL, Status::Queued, true), ahead], &new, NewUrl::Refused), Known(1));
}

#[test]
fn a_peers_item_is_the_same_source_wherever_its_file_is() {
    let of = |source| NewDownload { source, ..new_download(URL, FILE) };
    let mut there = row(1, URL, Status::Queued, true);
    there.new.source = peers("a:b", "http://north.example/peer/items/a%3Ab/file");
    let rows = [there];
    let moved = peers("a:b", "http://north.example:8080/peer/items/a%3Ab/file");
    assert_eq!(admission(&rows, &of(moved), NewUrl::Refused), Admission::Known(1));
    let another = peers("a:c", "http://north.example/peer/items/a%3Ab/file");
    assert_eq!(admission(&rows, &of(another), NewUrl::Refused), Admission::Busy(1));
    let plain = Source::Url { url: "http://north.example/peer/items/a%3Ab/file".to_owned() };
    assert_eq!(admission(&rows, &of(plain), NewUrl::Refused), Admission::Busy(1));
}

// L08, C01, C02, K05
#[test]
fn the_same_source_gets_the_same_id_and_another_one_is_refused() {
    let world = World::answering(config(), |_| {
        let mut reply = whole(b"film");
        reply.body.insert(0, Piece::Wait(seconds(10)));
        Ok(reply)
    });
    world.run(async {
        let accept = |url| world.engine.accept(new_download(url, FILE));
        let first = accept(URL).await.expect("it is new");
        assert!(!first.known);
        let drive = world.engine.drive(first.id);
        let meanwhile = async {
            wait(&world.clock, seconds(5)).await;
            let again = accept(URL).await.expect("it is under way");
            assert_eq!(again, Accepted { id: first.id, known: true, is_first: false });
            let secret = accept("http://other.example/film.mkv?key=secret").await;
            let Err(busy) = secret else { panic!("one writer a destination") };
            assert!(matches!(&busy, Error::DestinationBusy { id, path, url }
                if *id == first.id && path == FILE && url == URL));
            assert!(!busy.to_string().contains("secret"));
            let twice = world.engine.drive(first.id).await;
            assert!(matches!(twice, Err(Error::DestinationBusy { .. })), "one drive at once");
        };
        let (drive, ()) = futures::join!(drive, meanwhile);
        drive.expect("nothing came in between");
    });
    assert_eq!(world.host.story(1), ["queued", "started", "headers", "completed"]);
    assert_eq!(world.host.ledger.rows().len(), 1);
}

// S42, L08: no gap between the check and the claim, however slow the ledger is.
#[test]
fn of_many_at_once_for_one_destination_one_becomes_a_row() {
    let world = World::scripted(config(), []);
    let slow = slow::Slow::new(world.host.clone(), seconds(0));
    let engine = regrip_core::Engine::new(slow, config(), true).expect("in range");
    let accepted = world.run(async {
        let accepts = (0..20).map(|n| {
            let url = if n % 2 == 0 { URL } else { OTHER };
            engine.accept(new_download(url, FILE))
        });
        futures::future::join_all(accepts).await
    });
    assert_eq!(world.host.ledger.rows().len(), 1);
    for (n, result) in accepted.into_iter().enumerate() {
        match result {
            Ok(accepted) => assert_eq!((accepted.id, n % 2), (1, 0)),
            Err(error) => assert!(matches!(error, Error::DestinationBusy { id: 1, .. })),
        }
    }
}

// L08, C01
#[test]
fn what_another_process_drives_is_neither_driven_nor_moved_to_another_url() {
    let file = content(1000);
    let world = World::scripted(config(), [Ok(whole(&file))]);
    let id = world.accept();
    world.host.ledger.drive_elsewhere(id, true);
    let before = world.row(id);
    assert!(matches!(world.drive(id), Err(Error::PartLocked { .. })));
    assert!(!world.run(world.engine.repair(id)).expect("nothing to do"));
    let other = world.run(world.engine.accept_with(new_download(OTHER, FILE), NewUrl::Any));
    assert!(matches!(other, Err(Error::DestinationBusy { id: busy, .. }) if busy == id));
    assert_eq!(world.row(id), before);
    assert!(world.host.transport.requests().is_empty());
    world.host.ledger.drive_elsewhere(id, false);
    world.drive(id).expect("it is nobody's");
    world.assert_whole(&file);
}

// G1
#[test]
fn the_part_of_one_download_is_never_the_destination_of_another_one() {
    let as_part = || NewDownload { part: format!("{PART}.part"), ..new_download(OTHER, PART) };
    let file = content(1000);
    let world = World::scripted(config(), [cut(whole(&file), 400), Ok(reply(404, &[], vec![])), Ok(rest(&file, 400))]);
    world.get().expect_err("404 is permanent");
    let refused = world.run(world.engine.accept(as_part()));
    assert!(matches!(refused, Err(Error::DestinationRefused { path, .. }) if path == PART));
    assert_eq!(world.run(world.engine.accept_new(vec![as_part()])).expect("nothing is new"), [None]);
    world.get().expect("the rest is there");
    world.assert_whole(&file);
    world.run(world.engine.accept(as_part())).expect("the part is gone");
}

// G1
#[test]
fn a_part_that_another_download_makes_meanwhile_is_not_replaced() {
    let [film, other] = [content(1000), bytes_of(2, 1000)];
    let (served, served_other) = (film.clone(), other);
    let world = World::answering(config(), move |asked| {
        let is_other = asked.url == OTHER;
        let mut reply = whole(if is_other { &served_other } else { &served });
        // The other one is complete while the film's bytes come.
        reply.body.insert(0, Piece::Wait(seconds(if is_other { 5 } else { 10 })));
        Ok(reply)
    });
    world.run(async {
        let other = NewDownload { part: format!("{PART}.part"), ..new_download(OTHER, PART) };
        let other = world.engine.accept(other).await.expect("it is new").id;
        let film = world.engine.accept(new_download(URL, FILE)).await.expect("it is new").id;
        let (other, film) = futures::join!(world.engine.drive(other), world.engine.drive(film));
        assert!(matches!(other, Err(Error::DestinationExists { path }) if path == PART));
        film.expect("nothing came in between");
    });
    world.assert_whole(&film);
}

fn terms(world: &World, id: DownloadId) -> Terms {
    let row = world.row(id);
    let digests = row.digests;
    Terms { digests, ..Terms::of(&row.new) }
}

#[test]
fn asking_again_brings_its_own_terms_once_the_part_is_locked() {
    let world = World::answering(config(), |_| Err(Error::Protocol("no peer".to_owned())));
    let id = world.accept();
    let before = terms(&world, id);
    let again = NewDownload {
        digests: vec![given(&sha256(b""))],
        adopt: true,
        on_exists: OnExists::Fail,
        header_names: vec!["authorization".to_owned()],
        ..new_download(URL, FILE)
    };
    world.run(world.engine.accept(again.clone())).expect("it is known");
    // Another process may be writing the part, on the terms it was given.
    assert_eq!(terms(&world, id), before);
    world.run(world.engine.drive(id)).expect_err("no peer");
    assert_eq!(terms(&world, id), Terms::of(&again));
    // The terms are those of the last call, its digest too.
    world
        .run(world.engine.accept(NewDownload { header_names: again.header_names.clone(), ..new_download(URL, FILE) }))
        .expect("it is taken up");
    let row = world.row(id);
    assert_eq!((row.digests, row.new.adopt), (vec![], false));
}

#[test]
fn one_that_is_refused_the_part_changes_nothing_of_its_writers_terms() {
    let world = World::scripted(config(), []);
    let id = world.accept();
    let before = terms(&world, id);
    let held =
        world.run(world.host.store.open(&format!("{FILE}.part"), OpenPart::Adopt)).expect("another process has it");
    let again =
        NewDownload { on_exists: OnExists::Fail, digests: vec![given(&sha256(b""))], ..new_download(URL, FILE) };
    world.run(world.engine.accept(again)).expect("it is known");
    let error = world.run(world.engine.drive(id)).expect_err("it is held");
    assert!(matches!(error, Error::PartLocked { .. }), "{error:?}");
    drop(held);
    assert_eq!(terms(&world, id), before);
    assert!(!world.row(id).status.is_finished());
}

#[test]
fn a_failed_download_is_taken_up_by_asking_for_it_again() {
    let file = content(1000);
    let world = World::scripted(config(), [cut(whole(&file), 400), Ok(reply(404, &[], vec![])), Ok(rest(&file, 400))]);
    let id = world.accept();
    world.drive(id).expect_err("404 is permanent");
    let busy = world.run(world.engine.accept(new_download(OTHER, FILE)));
    assert!(matches!(busy, Err(Error::DestinationBusy { .. })), "its part is kept for it");
    let again = world.run(world.engine.accept(new_download(URL, FILE)));
    assert_eq!(again.ok(), Some(Accepted { id, known: true, is_first: false }));
    let row = world.row(id);
    assert_eq!((row.status, row.failure, row.bounds.in_all), (Status::Queued, None, 0));
    world.drive(id).expect("it resumes");
    world.assert_whole(&file);
}

#[test]
fn bytes_that_came_by_credentials_wait_until_those_are_given_again() {
    let file = content(1000);
    let answers = [cut(whole(&file), 400), Ok(reply(404, &[], vec![])), Ok(rest(&file, 400))];
    let world = World::scripted(config(), answers);
    let with = |names: &[&str]| NewDownload {
        header_names: names.iter().map(|name| (*name).to_owned()).collect(),
        ..new_download(URL, FILE)
    };
    let accept = |names: &[&str]| world.run(world.engine.accept(with(names)));
    let id = accept(&["cookie", "x-key"]).expect("it is new").id;
    // Nothing was received yet, so another request loses nothing.
    accept(&["x-key"]).expect("it is known");
    accept(&["cookie", "x-key"]).expect("it is known");
    world.drive(id).expect_err("404 is permanent");
    let before = (world.row(id), world.part());
    match accept(&["accept", "x-key"]) {
        Err(Error::CredentialsMissing { names }) => assert_eq!(names, "cookie"),
        other => panic!("{other:?}"),
    }
    assert_eq!((world.row(id), world.part()), before);
    accept(&["accept", "cookie", "x-key"]).expect("more than there were");
    world.drive(id).expect("it resumes");
    world.assert_whole(&file);
}

#[test]
fn a_completed_download_asked_for_again_is_new_work() {
    let world = World::answering(config(), |_| Ok(whole(b"film")));
    world.get().expect("it is served");
    let id = world.accept();
    assert_eq!(id, 2);
    world.drive(id).expect("it is served again");
    assert_eq!(world.asked().len(), 2);
}

#[test]
fn of_several_downloads_those_are_accepted_together_whose_destination_is_new() {
    let config = DownloadsConfig { digest: Some(Algorithm::Md5), ..config() };
    let world = World::scripted(config, []);
    let known = world.accept();
    let new = |path: &str| new_download(OTHER, path);
    let ids = world.run(world.engine.accept_new(vec![new("/films/a"), new(FILE), new("/films/b")]));
    let ids = ids.expect("the ledger works");
    assert_eq!(ids, [Some(known + 1), None, Some(known + 2)]);
    for id in ids.into_iter().flatten() {
        assert_eq!(world.row(id).digests, [DigestRow::asked(Algorithm::Md5)]);
        assert_eq!(world.host.story(id), ["queued"]);
    }
    assert_eq!(world.row(known).new.source.url(), URL);
}
