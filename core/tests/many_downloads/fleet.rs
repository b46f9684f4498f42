//! Processes that share a ledger and its work: what one of them accepts, any of them may drive.

use super::claims::{LEASE, process};
use crate::world::slow::Slow;
use crate::world::*;
use futures::join;
use regrip_core::engine::{Accepted, NewUrl};
use regrip_core::ledger::Ledger;
use regrip_core::record::{NewAttempt, NewDownload};
use regrip_core::testing::{FakeHost, Piece, new_download};
use regrip_core::time::Clock;
use regrip_core::{Change, Engine, Error, ErrorCode, Row, Status};

const SIGNED: &str = "http://peer.example/film.mkv?signature=new";
const OTHER: &str = "http://other.example/film.mkv";

/// Two processes. The first URL is gone.
fn two() -> [World; 2] {
    let world = World::answering(config(), |asked| match &*asked.url {
        URL => Ok(reply(404, &[], vec![])),
        _ => Ok(whole(b"film")),
    });
    [process(&world, 0), process(&world, 1)]
}

fn slow(host: &FakeHost) -> Engine<Slow> {
    Engine::new(Slow::new(host.clone(), seconds(0)), config(), true).expect("in range")
}

#[test]
fn a_new_url_of_a_download_that_any_process_may_drive_is_one_more_source() {
    for (status, then) in [
        (Status::Queued, Status::Queued),
        (Status::Waiting, Status::Waiting),
        (Status::Paused, Status::Queued),
        (Status::Failed, Status::Queued),
        (Status::Cancelled, Status::Queued),
    ] {
        let [one, other] = two();
        let id = one.accept();
        one.host.ledger.put(Row { status, claimed: true, ..one.row(id) });
        let accepted = other.run(other.engine.accept(new_download(SIGNED, FILE)));
        assert_eq!(accepted.ok(), Some(Accepted { id, known: true, is_first: false }), "{status:?}");
        let row = one.row(id);
        assert_eq!((row.status, row.new.source.url(), row.new.mirrors), (then, URL, vec![SIGNED.to_owned()]));
        assert_eq!(other.host.story(id), ["queued"]);
        one.drive(id).expect("the new URL takes over");
        one.assert_whole(b"film");
    }
}

#[test]
fn a_download_that_another_process_drives_gets_no_new_url() {
    let world = World::answering(config(), |_| {
        let mut reply = whole(b"film");
        reply.body.insert(0, Piece::Wait(seconds(10)));
        Ok(reply)
    });
    let [one, other] = [process(&world, 0), process(&world, 1)];
    let id = one.accept();
    let meanwhile = async {
        wait(&one.clock, seconds(5)).await;
        other.engine.accept(new_download(SIGNED, FILE)).await
    };
    let (driven, refused) = one.run(async { join!(one.engine.drive(id), meanwhile) });
    assert!(matches!(refused, Err(Error::DestinationBusy { id: busy, .. }) if busy == id), "{refused:?}");
    driven.expect("it goes on");
    assert_eq!((one.row(id).new.mirrors, other.host.story(id)), (vec![], vec![]));
}

#[test]
fn of_processes_that_accept_one_destination_at_once_one_adds_the_row_and_the_others_find_it() {
    let [one, other] = two();
    let (first, second) = (slow(&one.host), slow(&other.host));
    let accept = async |engine: &Engine<Slow>, url| engine.accept(new_download(url, FILE)).await;
    let (adds, finds, refused) =
        one.run(async { join!(accept(&first, URL), accept(&second, URL), accept(&second, OTHER)) });
    assert_eq!(adds.ok(), Some(Accepted { id: 1, known: false, is_first: true }));
    assert_eq!(finds.ok(), Some(Accepted { id: 1, known: true, is_first: false }));
    assert!(matches!(refused, Err(Error::DestinationBusy { id: 1, .. })), "{refused:?}");
    assert_eq!(one.host.ledger.rows().len(), 1);
}

#[test]
fn what_another_process_has_ended_is_not_driven() {
    for (removed, expected) in [(false, ErrorCode::WrongState), (true, ErrorCode::NoSuchDownload)] {
        let [one, other] = two();
        let id = one.accept();
        let ended = other.run(async {
            match removed {
                true => other.engine.remove(id).await,
                false => other.engine.cancel(id).await,
            }
        });
        ended.expect("nobody drives it");
        assert_eq!(one.drive(id).expect_err("it is over").code(), expected);
        assert_eq!((one.host.story(id), one.asked()), (vec!["queued"], vec![]));
    }
}

// Between reading the rows of a destination and recording what follows from them, another process may take up one of them.
#[test]
fn a_download_that_two_processes_take_up_at_once_is_known_to_both_and_gets_no_new_url() {
    for (leases, status, url) in [false, true].into_iter().flat_map(|leases| {
        let all = [Status::Failed, Status::Cancelled, Status::Paused].into_iter();
        all.flat_map(move |status| [URL, SIGNED].map(|url| (leases, status, url)))
    }) {
        let mut refused = 0;
        for polls in 0..20 {
            let story = format!("leases: {leases}, {status:?}, {url}, poll {polls}");
            let world = World::answering(config(), |_| Ok(whole(b"film")));
            let [one, other] = match leases {
                true => [process(&world, 0), process(&world, 1)],
                false => [(); 2].map(|()| World::on(world.host.clone(), config())),
            };
            let id = one.accept();
            one.host.ledger.put(Row { status, claimed: true, ..one.row(id) });
            let engine = slow(&one.host);
            let new = NewDownload { header_names: vec!["cookie".to_owned()], ..new_download(url, FILE) };
            let take_up = async {
                for _ in 0..polls {
                    pause().await;
                }
                match status {
                    Status::Paused => other.engine.resume(id).await,
                    _ => other.engine.retry(id).await,
                }?;
                // From then on only its driver changes the row.
                other.host.ledger.claim(id, "other", other.clock.wall() + LEASE).await
            };
            let (accepted, _) = one.run(async { join!(engine.accept_with(new, NewUrl::SamePath), take_up) });
            assert_eq!(one.row(id).status, Status::Queued, "{story}");
            match accepted {
                Ok(accepted) => assert_eq!((accepted.id, accepted.known), (id, true), "{story}"),
                Err(Error::WrongState { .. } | Error::DestinationBusy { .. }) => refused += 1,
                Err(error) => panic!("{story}: {error}"),
            }
            if url == URL && !leases {
                one.run(engine.drive(id)).expect(&story);
                assert_eq!(one.row(id).new.header_names, ["cookie"], "{story}");
            }
        }
        // A paused one is no further for being resumed; what is tried at the new URL is tried then.
        let may_refuse = url == SIGNED && (leases || status != Status::Paused);
        assert_eq!(refused > 0, may_refuse, "leases: {leases}, {status:?}, {url}: {refused}");
    }
}

// The bytes of a part without a name are gone with its process.
#[test]
fn a_small_file_that_any_process_may_drive_has_no_part_unless_a_process_died_in_an_attempt() {
    for died in [false, true] {
        let [one, other] = two();
        other.host.store.keep_unnamed(1 << 20);
        let id = one.run(one.engine.accept(new_download(OTHER, FILE))).expect("it is new").id;
        if died {
            let begin = NewAttempt { at: one.clock.wall(), from: 0 };
            one.run(one.host.ledger.begin_attempt(id, &begin)).expect("it is queued");
        }
        other.drive(id).expect("it is served");
        let claims = one.host.ledger.changes().into_iter().filter(|(_, change)| matches!(change, Change::Claimed(_)));
        assert_eq!(claims.count(), usize::from(died));
        other.assert_whole(b"film");
    }
}
