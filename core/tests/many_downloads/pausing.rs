//! Pausing and resuming.

use super::calling_off::{other_process, stalled};
use crate::world::slow::Slow;
use crate::world::*;
use futures::join;
use regrip_core::bounds::Bounds;
use regrip_core::engine::NewUrl;
use regrip_core::ledger::Ledger;
use regrip_core::record::Outcome;
use regrip_core::testing::{FakeHost, Piece, Served, new_download};
use regrip_core::{Change, DownloadId, DownloadsConfig, Engine, Error, Status, What};

/// Drives, and pauses at second `at`.
fn paused_at(world: &World, id: DownloadId, at: u64) {
    world.run(async {
        let pause = async {
            wait(&world.clock, seconds(at)).await;
            world.engine.pause(id).await
        };
        let (ended, told) = join!(world.engine.drive(id), pause);
        assert!(matches!(ended, Err(Error::Paused)), "{ended:?}");
        told.expect("it was in time");
    });
    assert_eq!(world.clock.elapsed(), seconds(at), "promptly");
    assert_eq!(world.row(id).status, Status::Paused);
    world.assert_at_rest();
}

/// What the last event says, and its name.
fn last_event(host: &FakeHost) -> (&'static str, What) {
    let (_, what) = host.events().pop().expect("an event");
    (what.name(), what)
}

#[test]
fn a_pause_in_the_middle_of_a_body_keeps_the_part_and_a_resume_goes_on_from_it() {
    let world = stalled();
    let id = world.accept();
    paused_at(&world, id, 10);
    assert_eq!(world.part().map(|part| part.len()), Some(400));
    let row = world.row(id);
    assert_eq!((row.durable, row.failure, row.waiting), (400, None, None));
    let end = world.host.ledger.timeline(id)[0].end.clone().expect("it ended");
    assert_eq!((end.outcome, end.to, end.error), (Outcome::Interrupted, 400, None));
    assert_eq!(last_event(&world.host), ("waiting", What::Paused { bytes: 400 }));
    world.run(world.engine.resume(id)).expect("it is paused");
    assert_eq!(last_event(&world.host).0, "queued");
    world.drive(id).expect("it resumes");
    assert_eq!(world.asked()[1].0, Some(400));
    world.assert_whole(&content(1000));
}

#[test]
fn a_pause_ends_a_backoff_and_keeps_its_bounds() {
    let world = World::answering(config(), |_| Ok(reply(503, &[("retry-after", "60")], vec![])));
    let id = world.accept();
    paused_at(&world, id, 10);
    let bounds = world.row(id).bounds;
    assert_eq!(bounds.in_a_row, 1);
    world.run(world.engine.resume(id)).expect("it is paused");
    assert_eq!((world.row(id).status, world.row(id).bounds), (Status::Queued, bounds));
}

#[test]
fn a_paused_download_gives_its_permit_to_the_next_one() {
    let limits = DownloadsConfig { max_concurrent_downloads: 1, ..config() };
    let world = World::answering(limits, |_| {
        let mut reply = whole(b"film");
        reply.body.insert(0, Piece::Wait(seconds(30)));
        Ok(reply)
    });
    world.run(async {
        let first = world.engine.accept(new_download(URL, FILE)).await.expect("new").id;
        let second = world.engine.accept(new_download(URL, "/other")).await.expect("new").id;
        let pause = async {
            wait(&world.clock, seconds(5)).await;
            world.engine.pause(first).await.expect("it runs");
        };
        let (first, second, ()) = join!(world.engine.drive(first), world.engine.drive(second), pause);
        assert!(matches!(first, Err(Error::Paused)), "{first:?}");
        second.expect("it is served");
        assert_eq!(world.clock.elapsed(), seconds(35));
    });
    world.assert_at_rest();
}

#[test]
fn a_download_that_nobody_drives_is_paused_in_its_row_and_not_driven_before_it_is_resumed() {
    let world = World::scripted(config(), [Ok(whole(b"film"))]);
    let id = world.accept();
    world.run(world.engine.pause(id)).expect("it is queued");
    assert_eq!(last_event(&world.host), ("waiting", What::Paused { bytes: 0 }));
    assert!(matches!(world.drive(id), Err(Error::Paused)));
    assert_eq!((world.row(id).status, world.row(id).attempts), (Status::Paused, 0));
    world.run(world.engine.resume(id)).expect("it is paused");
    world.drive(id).expect("it is served");
    world.assert_whole(b"film");
}

#[test]
fn a_paused_download_stays_paused_over_a_start() {
    let world = stalled();
    let id = world.accept();
    paused_at(&world, id, 10);
    let later = World::on(world.host.clone(), config());
    let found = later.run(later.engine.recover()).expect("the ledger works");
    assert_eq!((found.drive, found.superseded), (vec![], vec![]));
    assert_eq!((later.row(id).status, later.part().map(|part| part.len())), (Status::Paused, Some(400)));
}

#[test]
fn asking_for_a_paused_download_again_resumes_it() {
    let world = stalled();
    let id = world.accept();
    paused_at(&world, id, 10);
    assert_eq!(world.accept(), id);
    assert_eq!(world.row(id).status, Status::Queued);
    world.drive(id).expect("it resumes");
    assert_eq!(world.asked()[1].0, Some(400));
    world.assert_whole(&content(1000));
}

#[test]
fn a_paused_download_keeps_its_destination_and_a_url_that_fails_to_prove_itself_leaves_it_paused() {
    let world = World::answering(config(), |asked| {
        let mut reply = whole(&content(1000));
        reply.body = vec![bytes(&content(1000)[..400]), Piece::Wait(seconds(50))];
        Ok(if asked.url == URL { reply } else { crate::world::reply(404, &[], vec![]) })
    });
    let id = world.accept();
    paused_at(&world, id, 10);
    let other = || new_download("http://mirror.example/film.mkv", FILE);
    let refused = world.run(world.engine.accept(other()));
    assert!(matches!(refused, Err(Error::DestinationBusy { id: busy, .. }) if busy == id), "{refused:?}");
    assert_eq!(world.row(id).status, Status::Paused);
    let accepted = world.run(world.engine.accept_with(other(), NewUrl::Any)).expect("a trial");
    assert!(matches!(world.drive(accepted.id), Err(Error::Status { status: 404, .. })));
    let row = world.row(id);
    assert_eq!((accepted.id, row.status, row.new.source.url()), (id, Status::Paused, URL));
}

#[test]
fn only_what_is_queued_running_or_waiting_is_paused_and_only_what_is_paused_is_resumed() {
    let world = World::answering(config(), |_| Ok(whole(b"film")));
    let id = world.accept();
    let state = |told: Result<(), Error>| match told {
        Err(Error::WrongState { status, .. }) => Some(status),
        Ok(()) => None,
        Err(other) => panic!("{other}"),
    };
    assert_eq!(state(world.run(world.engine.resume(id))), Some(Status::Queued));
    world.run(world.engine.pause(id)).expect("it is queued");
    assert_eq!(state(world.run(world.engine.pause(id))), Some(Status::Paused));
    assert_eq!(state(world.run(world.engine.retry(id))), Some(Status::Paused));
    assert_eq!(state(world.run(world.engine.cancel(id))), None);
    for status in [Status::Cancelled, Status::Failed, Status::Completed, Status::ImportQueued, Status::Committing] {
        world.host.ledger.put(regrip_core::Row { status, ..world.row(id) });
        assert_eq!(state(world.run(world.engine.pause(id))), Some(status));
        assert_eq!(state(world.run(world.engine.resume(id))), Some(status));
    }
    assert!(matches!(world.run(world.engine.pause(99)), Err(Error::NoSuchDownload(99))));
    assert!(matches!(world.run(world.engine.resume(99)), Err(Error::NoSuchDownload(99))));
}

#[test]
fn a_paused_download_is_removed_with_its_part() {
    let world = stalled();
    let id = world.accept();
    paused_at(&world, id, 10);
    world.run(world.engine.remove(id)).expect("nobody writes it");
    assert_eq!((world.part(), world.host.ledger.rows().len()), (None, 0));
}

#[test]
fn a_cancel_and_a_pause_at_once_end_a_drive_by_the_cancel() {
    for cancel_first in [true, false] {
        let world = stalled();
        let id = world.accept();
        world.run(async {
            let both = async {
                wait(&world.clock, seconds(10)).await;
                if cancel_first {
                    world.engine.cancel(id).await.expect("it runs");
                    let late = world.engine.pause(id).await;
                    assert!(matches!(late, Err(Error::WrongState { status: Status::Cancelled, .. })), "{late:?}");
                } else {
                    world.engine.pause(id).await.expect("it runs");
                    world.engine.cancel(id).await.expect("it is not committing");
                }
            };
            let (ended, ()) = join!(world.engine.drive(id), both);
            assert!(matches!(ended, Err(Error::Cancelled)), "{cancel_first}: {ended:?}");
        });
        assert_eq!(world.row(id).status, Status::Cancelled);
        assert_eq!(last_event(&world.host).0, "cancelled");
    }
}

// Whether this process notices it at once or at its next record: it ends as paused.
#[test]
fn a_pause_by_another_process_ends_the_drive() {
    for noticed in [true, false] {
        let world = stalled();
        let id = world.accept();
        let other = other_process(&world.host);
        world.run(async {
            let pause = async {
                wait(&world.clock, seconds(10)).await;
                other.pause(id).await.expect("it runs");
                if noticed {
                    world.engine.stop_ended_elsewhere().await.expect("the ledger works");
                }
            };
            let (ended, ()) = join!(world.engine.drive(id), pause);
            assert!(matches!(ended, Err(Error::Paused)), "{noticed}: {ended:?}");
        });
        assert_eq!(world.clock.elapsed(), seconds(if noticed { 10 } else { 50 }));
        let row = world.row(id);
        assert_eq!(
            (row.status, world.part().map(|part| part.len())),
            (Status::Paused, Some(if noticed { 400 } else { 1000 }))
        );
        assert_eq!((last_event(&world.host).0, world.file()), ("waiting", None));
        world.run(world.engine.resume(id)).expect("it is paused");
        world.drive(id).expect("it resumes");
        world.assert_whole(&content(1000));
    }
}

// At every await of a download somebody pauses it: it is paused, or it was too late and the file is whole.
#[test]
fn a_pause_at_any_moment_is_kept_or_comes_too_late() {
    let (mut paused, mut late) = (0, 0);
    for polls in 0..120 {
        let mut served = Served::new(content(20_000)).etag("\"v1\"");
        let world = World::answering(config(), move |asked| served.answer(asked));
        let id = world.accept();
        let engine = Engine::new(Slow::new(world.host.clone(), seconds(0)), config(), true).expect("in range");
        let (ended, told) = world.run(async {
            let pause_it = async {
                for _ in 0..polls {
                    pause().await;
                }
                engine.pause(id).await
            };
            join!(engine.drive(id), pause_it)
        });
        let context = format!("poll {polls}: {told:?}, {ended:?}");
        match told {
            Ok(()) => {
                paused += 1;
                assert!(matches!(ended, Err(Error::Paused)), "{context}");
                assert_eq!((world.row(id).status, world.file()), (Status::Paused, None), "{context}");
                world.run(world.engine.resume(id)).expect("it is paused");
                world.drive(id).expect("it resumes");
            }
            Err(Error::WrongState { status: Status::Committing | Status::Completed, .. }) => {
                late += 1;
                ended.expect("it was too late");
            }
            Err(_) => panic!("{context}"),
        }
        world.assert_whole(&content(20_000));
    }
    assert!(paused > 10 && late > 5, "{paused}, {late}");
}

#[test]
fn a_late_record_of_a_drive_does_not_end_a_pause() {
    let world = World::scripted(config(), []);
    let id = world.accept();
    world.run(world.engine.pause(id)).expect("it is queued");
    let at = std::time::SystemTime::UNIX_EPOCH;
    let recorded = world.run(world.host.ledger.record(id, &Change::Queued, at));
    assert!(matches!(recorded, Err(Error::WrongState { status: Status::Paused, .. })), "{recorded:?}");
    assert_eq!(world.row(id).bounds, Bounds::default());
}
