//! Cancelling, ending, retrying, removing.

use crate::world::slow::Slow;
use crate::world::*;
use regrip_core::record::{NewDownload, Outcome};
use regrip_core::testing::{FakeHost, Piece, Served, new_download};
use regrip_core::{Change, DownloadId, DownloadsConfig, Engine, Error, ErrorCode, Status, Summary, What};

fn terminal(host: &FakeHost, id: DownloadId) -> Vec<&'static str> {
    let story = host.story(id).into_iter();
    story.filter(|name| ["completed", "failed", "cancelled"].contains(name)).collect()
}

/// A body that stands still after 400 of 1000 bytes.
pub(crate) fn stalled() -> World {
    World::answering(config(), |asked| {
        let file = content(1000);
        let from = asked.first.unwrap_or(0) as usize;
        let mut reply = if from > 0 { rest(&file, from) } else { whole(&file) };
        if from == 0 {
            reply.body = vec![bytes(&file[..400]), Piece::Wait(seconds(50)), bytes(&file[400..])];
        }
        Ok(reply)
    })
}

/// Drives, and calls `stop` at second `at`, which ends the drive promptly. Returns how the drive ended.
pub(crate) fn stopped_at(
    world: &World,
    id: DownloadId,
    at: u64,
    stop: impl AsyncFnOnce() -> Result<(), Error>,
) -> Result<Summary, Error> {
    let ended = world.run(async {
        let stop = async {
            wait(&world.clock, seconds(at)).await;
            stop().await
        };
        let (ended, stopped) = futures::join!(world.engine.drive(id), stop);
        stopped.expect("it was in time");
        ended
    });
    assert_eq!(world.clock.elapsed(), seconds(at), "promptly");
    world.assert_at_rest();
    ended
}

/// Drives, and cancels at second `at`.
fn cancelled_at(world: &World, id: DownloadId, at: u64) {
    let ended = stopped_at(world, id, at, async || world.engine.cancel(id).await);
    assert!(matches!(ended, Err(Error::Cancelled)));
    assert_eq!(world.row(id).status, Status::Cancelled);
    assert_eq!(terminal(&world.host, id), ["cancelled"]);
}

#[test]
fn a_cancel_in_the_middle_of_a_body_keeps_the_part() {
    let world = stalled();
    let id = world.accept();
    cancelled_at(&world, id, 10);
    assert_eq!(world.part().map(|part| part.len()), Some(400));
    assert_eq!(world.row(id).durable, 400);
    let end = world.host.ledger.timeline(id)[0].end.clone().expect("it ended");
    assert_eq!((end.outcome, end.to, end.error), (Outcome::Cancelled, 400, None));
    let Some((_, What::Cancelled(summary))) = world.host.events().pop() else {
        panic!("the last event is the cancel");
    };
    assert_eq!((summary.bytes, summary.code), (400, Some(ErrorCode::Cancelled)));
    // And asking for it again goes on from there.
    assert_eq!(world.accept(), id);
    world.drive(id).expect("it resumes");
    assert_eq!(world.asked()[1].0, Some(400));
    world.assert_whole(&content(1000));
}

#[test]
fn a_cancel_in_a_backoff_is_heard_at_once_and_keeps_even_an_empty_part() {
    let world = World::answering(config(), |_| Ok(reply(503, &[("retry-after", "60")], vec![])));
    let id = world.accept();
    cancelled_at(&world, id, 10);
    assert_eq!((world.part(), world.row(id).claimed), (Some(vec![]), true));
}

#[test]
fn a_cancel_in_the_queue_is_heard_at_once() {
    let world = World::answering(DownloadsConfig { max_concurrent_downloads: 1, ..config() }, |_| {
        let mut reply = whole(b"film");
        reply.body.insert(0, Piece::Wait(seconds(30)));
        Ok(reply)
    });
    world.run(async {
        let first = world.engine.accept(new_download(URL, FILE)).await.expect("new").id;
        let second = world.engine.accept(new_download(URL, "/other")).await.expect("new").id;
        let cancel = async {
            wait(&world.clock, seconds(5)).await;
            world.engine.cancel(second).await.expect("it waits");
        };
        let second = async {
            let ended = world.engine.drive(second).await;
            assert!(matches!(ended, Err(Error::Cancelled)));
            assert_eq!(world.clock.elapsed(), seconds(5));
        };
        let (first, (), ()) = futures::join!(world.engine.drive(first), second, cancel);
        first.expect("nobody called it off");
    });
    world.assert_at_rest();
}

#[test]
fn the_last_event_of_a_download_that_is_cancelled_in_its_row_says_how_far_it_was() {
    let (old, file) = (content(1000), bytes_of(2, 1000));
    // It starts over, and is paused amid the new file.
    let mut slow = without(whole(&file), "etag");
    slow.body = vec![bytes(&file[..300]), Piece::Wait(seconds(60))];
    let world = World::scripted(config(), [cut(whole(&old), 400), Ok(slow)]);
    let id = world.accept();
    let ended = world.run(async {
        let pause = async {
            wait(&world.clock, seconds(10)).await;
            world.engine.pause(id).await
        };
        futures::join!(world.engine.drive(id), pause)
    });
    assert!(matches!(ended, (Err(Error::Paused), Ok(()))), "{ended:?}");
    world.run(world.engine.cancel(id)).expect("it is paused");
    let Some((_, What::Cancelled(summary))) = world.host.events().pop() else {
        panic!("the last event is the cancel");
    };
    assert_eq!((summary.bytes, summary.attempts, summary.restarts), (300, 2, 1));
    assert_eq!(summary.error, Some(Error::Cancelled.to_string()));
}

#[test]
fn a_download_that_is_not_driven_is_cancelled_in_its_row() {
    let world = World::scripted(config(), []);
    let id = world.accept();
    world.run(world.engine.cancel(id)).expect("it is queued");
    assert_eq!(world.row(id).status, Status::Cancelled);
    let Some((_, What::Cancelled(summary))) = world.host.events().pop() else {
        panic!("the last event is the cancel");
    };
    assert_eq!(
        (summary.code, summary.class.map(|class| class.name())),
        (Some(ErrorCode::Cancelled), Some("permanent"))
    );
    assert!(matches!(world.drive(id), Err(Error::WrongState { status: Status::Cancelled, .. })));
    assert_eq!(terminal(&world.host, id), ["cancelled"]);
}

// K06
#[test]
fn a_finished_download_cannot_be_called_off() {
    let world = World::scripted(config(), [Ok(whole(b"film"))]);
    let id = world.accept();
    world.drive(id).expect("it is served");
    let late = world.run(world.engine.cancel(id));
    assert!(matches!(late, Err(Error::WrongState { status: Status::Completed, .. })));
    assert_eq!(terminal(&world.host, id), ["completed"]);
    assert!(matches!(world.run(world.engine.cancel(99)), Err(Error::NoSuchDownload(99))));
}

// K06: at every await of a download somebody calls it off, once or twice.
#[test]
fn a_cancel_at_any_moment_leads_to_exactly_one_last_word() {
    let (mut cancelled, mut completed) = (0, 0);
    for polls in 0.. {
        let served = Served::new(content(20_000)).etag("\"v1\"");
        let fake = FakeHost::serving(served);
        let slow = Slow::new(fake.clone(), seconds(0));
        let engine = Engine::new(slow, config(), true).expect("in range");
        let (ended, told, again) = fake
            .clock
            .run(async {
                let id = engine.accept(new_download(URL, FILE)).await.expect("new").id;
                let cancel = async {
                    for _ in 0..polls {
                        pause().await;
                    }
                    let told = engine.cancel(id).await;
                    (told, engine.cancel(id).await)
                };
                let (ended, (told, again)) = futures::join!(engine.drive(id), cancel);
                (ended, told, again)
            })
            .expect("it ends");
        let row = &fake.ledger.rows()[0];
        assert_eq!(terminal(&fake, 1), [row.status.name()], "poll {polls}");
        let context = format!("poll {polls}: {ended:?}, {told:?}, {again:?}");
        match row.status {
            Status::Cancelled => {
                cancelled += 1;
                assert!(told.is_ok() && fake.store.file(FILE).is_none(), "{context}");
                // Before the drive has begun it finds a row that is cancelled already.
                assert!(matches!(ended, Err(Error::Cancelled | Error::WrongState { .. })), "{context}");
            }
            Status::Completed => {
                completed += 1;
                assert!(ended.is_ok() && matches!(told, Err(Error::WrongState { .. })), "{context}");
                assert!(matches!(again, Err(Error::WrongState { .. })), "{context}");
                assert!(fake.store.file(FILE).is_some(), "{context}");
            }
            other => panic!("{other:?}, {context}"),
        }
        assert_eq!((engine.permits_used(), fake.store.open_parts(), fake.transport.open_bodies()), (0, 0, 0));
        if completed > 20 {
            break;
        }
    }
    assert!(cancelled > 20, "{cancelled} were in time");
}

// Whoever retries must know that a digest refused the bytes: a cancel does not hide that.
#[test]
fn a_cancel_that_is_accepted_while_a_download_fails_counts_unless_its_digest_refused_the_file() {
    for refused in [false, true] {
        let (mut cancelled, mut overruled) = (0, 0);
        for polls in 0..100 {
            let (file, wrong) = (content(1000), bytes_of(2, 1000));
            let first = if refused { whole(&wrong) } else { reply(404, &[], vec![]) };
            let world = World::scripted(config(), [Ok(first), Ok(whole(&file))]);
            let engine = Engine::new(Slow::new(world.host.clone(), seconds(0)), config(), true).expect("in range");
            let new = NewDownload { digests: vec![given(&sha256(&file))], ..new_download(URL, FILE) };
            let (id, ended, told) = world.run(async {
                let id = engine.accept(new).await.expect("it is new").id;
                let cancel = async {
                    for _ in 0..polls {
                        pause().await;
                    }
                    engine.cancel(id).await
                };
                let (ended, told) = futures::join!(engine.drive(id), cancel);
                (id, ended.expect_err("it fails").code(), told)
            });
            let row = world.row(id);
            let context = format!("poll {polls}: {ended:?}, {told:?}, {:?}", row.status);
            assert_eq!(terminal(&world.host, id), [row.status.name()], "{context}");
            match (told, row.status) {
                (Ok(()), Status::Cancelled) => cancelled += 1,
                (Ok(()), Status::Failed) => overruled += 1,
                (Err(Error::WrongState { .. }), Status::Failed) => {}
                _ => panic!("{context}"),
            }
            if ended == ErrorCode::DigestMismatch {
                world.run(engine.retry(id)).expect("it failed");
                world.run(engine.drive(id)).expect("its bytes do not count");
                world.assert_whole(&file);
            }
        }
        assert!(cancelled > 10 && (overruled > 0) == refused, "{refused}: {cancelled}, {overruled}");
    }
}

#[test]
fn a_caller_that_drives_a_download_itself_cancels_it_without_a_look_at_its_row() {
    let world = stalled();
    let id = world.accept();
    assert!(!world.engine.call_off(id), "nobody drives it");
    let ended = stopped_at(&world, id, 10, async || {
        assert!(world.engine.call_off(id));
        assert!(world.engine.call_off(id), "it ends by that");
        Ok(())
    });
    assert!(matches!(ended, Err(Error::Cancelled)), "{ended:?}");
    let world = stalled();
    let id = world.accept();
    let ended = world.run(async {
        let stop = async {
            wait(&world.clock, seconds(10)).await;
            world.engine.end();
            world.engine.call_off(id)
        };
        futures::join!(world.engine.drive(id), stop)
    });
    assert!(matches!(ended, (Err(Error::Interrupted), false)), "it ends by something else: {ended:?}");
}

/// What another process on the same disk and ledger sees; its events are its own.
pub(crate) fn other_process(host: &FakeHost) -> Engine<FakeHost> {
    let mut other = FakeHost::new(host.clock.clone(), host.transport.clone());
    other.store = host.store.clone();
    other.ledger = host.ledger.clone();
    Engine::new(other, config(), true).expect("in range")
}

// K06 between processes: even without a signal to the driver, the ledger accepts only one of the two ends.
#[test]
fn a_cancel_by_another_process_at_any_moment_leads_to_exactly_one_last_word() {
    for heeded in [true, false] {
        let (mut cancelled, mut completed) = (0, 0);
        for polls in 0.. {
            let served = Served::new(content(20_000)).etag("\"v1\"");
            let fake = FakeHost::serving(served);
            let engine = Engine::new(Slow::new(fake.clone(), seconds(0)), config(), true);
            let engine = engine.expect("in range");
            let other = other_process(&fake);
            let (ended, told) = fake
                .clock
                .run(async {
                    let accepted = engine.accept(new_download(URL, FILE)).await;
                    let id = accepted.expect("new").id;
                    let cancel = async {
                        for _ in 0..polls {
                            pause().await;
                        }
                        let told = other.cancel(id).await;
                        if heeded {
                            engine.stop_ended_elsewhere().await.expect("the ledger works");
                        }
                        told
                    };
                    futures::join!(engine.drive(id), cancel)
                })
                .expect("it ends");
            let row = &fake.ledger.rows()[0];
            let context = format!("poll {polls}: {ended:?}, {told:?}, {:?}", row.status);
            match row.status {
                Status::Cancelled => {
                    cancelled += 1;
                    assert!(told.is_ok() && fake.store.file(FILE).is_none(), "{context}");
                    match ended {
                        Err(Error::Cancelled) => assert_eq!(terminal(&fake, 1), ["cancelled"]),
                        // Before the drive has begun it finds a row that is cancelled already.
                        Err(Error::WrongState { .. }) => assert!(polls < 5, "{context}"),
                        _ => panic!("{context}"),
                    }
                }
                Status::Completed => {
                    completed += 1;
                    assert_eq!(terminal(&fake, 1), ["completed"]);
                    assert!(ended.is_ok() && matches!(told, Err(Error::WrongState { .. })), "{context}");
                }
                _ => panic!("{context}"),
            }
            assert_eq!((engine.permits_used(), fake.store.open_parts()), (0, 0));
            if completed > 20 {
                break;
            }
        }
        assert!(cancelled > 20, "{cancelled} were in time");
    }
}

#[test]
fn a_download_removed_by_another_process_in_its_backoff_ends_and_leaves_nothing() {
    for heeded in [true, false] {
        let world = World::answering(config(), |_| Ok(reply(503, &[("retry-after", "60")], vec![])));
        let id = world.accept();
        let other = other_process(&world.host);
        world.run(async {
            let remove = async {
                wait(&world.clock, seconds(10)).await;
                other.remove(id).await.expect("nobody writes its part now");
                if heeded {
                    world.engine.stop_ended_elsewhere().await.expect("the ledger works");
                    world.engine.stop_ended_elsewhere().await.expect("and once more");
                }
            };
            let (ended, ()) = futures::join!(world.engine.drive(id), remove);
            assert!(matches!(ended, Err(Error::NoSuchDownload(gone)) if gone == id));
        });
        let at = if heeded { seconds(10) } else { seconds(60) };
        assert_eq!(world.clock.elapsed(), at);
        assert_eq!(terminal(&world.host, id), ["failed"]);
        assert_eq!((world.part(), world.host.ledger.rows().len()), (None, 0));
        world.assert_at_rest();
    }
}

// Whatever the moment: what is removed has neither row nor part, what is not removed has both or is the file.
#[test]
fn a_removal_by_another_process_at_any_moment_leaves_no_part_without_a_row() {
    let (mut removed, mut refused) = (0, 0);
    for polls in 0..60 {
        let answers = [Ok(reply(503, &[], vec![])), Ok(whole(b"film"))];
        let mut answers = answers.into_iter();
        let world = World::answering(config(), move |_| answers.next().expect("two are asked for"));
        let slow = |host: FakeHost| Engine::new(Slow::new(host, seconds(0)), config(), true);
        let engine = slow(world.host.clone()).expect("in range");
        let other = slow(other_process(&world.host).host().clone()).expect("in range");
        let told = world.run(async {
            let accepted = engine.accept(new_download(URL, FILE)).await;
            let id = accepted.expect("new").id;
            let remove = async {
                for _ in 0..polls {
                    pause().await;
                }
                other.remove(id).await
            };
            futures::join!(engine.drive(id), remove).1
        });
        let (row, part) = (world.host.ledger.rows().pop(), world.part());
        let context = format!("poll {polls}: {told:?}, {row:?}");
        match told {
            Ok(()) => {
                removed += 1;
                assert!(row.is_none() && part.is_none(), "{context}");
            }
            Err(Error::PartLocked { .. }) => {
                refused += 1;
                let row = row.expect("it was refused");
                assert!(row.claimed && row.status.is_finished(), "{context}");
            }
            Err(_) => panic!("{context}"),
        }
        world.assert_at_rest();
    }
    assert!(removed > 20 && refused > 2, "{removed}, {refused}");
}

// Between the part's end and the row's, whoever waits for its next attempt could else begin it.
#[test]
fn what_may_be_about_to_begin_is_called_off_before_its_part_is_removed() {
    let world = World::scripted(config(), []);
    let id = world.accept();
    world.run(world.engine.remove(id)).expect("nobody is at it");
    let last = world.host.ledger.changes().pop();
    assert_eq!(last, Some((id, Change::Cancelled)));
}

#[test]
fn what_another_process_is_writing_is_not_removed() {
    let world = stalled();
    let id = world.accept();
    let other = other_process(&world.host);
    world.run(async {
        let remove = async {
            wait(&world.clock, seconds(10)).await;
            let refused = other.remove(id).await;
            assert!(matches!(refused, Err(Error::PartLocked { .. })));
            world.engine.stop_ended_elsewhere().await.expect("the ledger works");
        };
        let (ended, ()) = futures::join!(world.engine.drive(id), remove);
        ended.expect("it goes on");
    });
    world.assert_whole(&content(1000));
}

// C11
#[test]
fn the_end_of_the_process_is_not_a_cancel() {
    let world = stalled();
    let id = world.accept();
    world.run(async {
        let end = async {
            wait(&world.clock, seconds(10)).await;
            world.engine.end();
            world.engine.end();
        };
        let (ended, ()) = futures::join!(world.engine.drive(id), end);
        assert!(matches!(ended, Err(Error::Interrupted)));
    });
    let row = world.row(id);
    assert_eq!((row.status, row.durable, row.bounds.in_all), (Status::Queued, 400, 0));
    assert_eq!(terminal(&world.host, id), [""; 0]);
    assert_eq!(world.host.ledger.timeline(id)[0].end.as_ref().map(|end| end.outcome), Some(Outcome::Interrupted));
    world.assert_at_rest();
    let next = World::on(world.host.clone(), config());
    next.drive(id).expect("the next process goes on");
    next.assert_whole(&content(1000));
}

// G3: with a cap of 2, ten kills and then the file.
#[test]
fn a_kill_costs_no_attempt() {
    let config = DownloadsConfig { max_download_attempts: 2, max_total_attempts: 2, ..config() };
    let file = content(1000);
    let mut kills = 0;
    let served = file.clone();
    let world = World::answering(config.clone(), move |asked| {
        kills += 1;
        let from = asked.first.unwrap_or(0) as usize;
        let mut reply = if from > 0 { rest(&served, from) } else { whole(&served) };
        if kills <= 10 {
            reply.body = vec![bytes(&served[from..from + 50]), Piece::Forever];
        }
        Ok(reply)
    });
    let id = world.accept();
    for kill in 1..=10 {
        let engine = World::on(world.host.clone(), config.clone()).engine;
        assert!(world.run(at_most(1, engine.drive(id))).is_none());
        world.host.store.crash();
        let row = world.row(id);
        assert_eq!((row.status, row.attempts, row.bounds.in_a_row), (Status::Downloading, kill, 0));
    }
    let next = World::on(world.host.clone(), config);
    assert_eq!(next.drive(id).expect("it goes on").attempts, 11);
    next.assert_whole(&file);
}

#[test]
fn a_retry_takes_up_a_failed_or_cancelled_one_only() {
    let world = World::answering(DownloadsConfig { max_download_attempts: 1, ..config() }, |_| Err(broken()));
    let id = world.accept();
    let refused = |status: Status| {
        let refused = world.run(world.engine.retry(id));
        assert!(matches!(refused, Err(Error::WrongState { status: was, .. }) if was == status));
    };
    refused(Status::Queued);
    world.drive(id).expect_err("the peer is dead");
    world.run(world.engine.retry(id)).expect("it failed");
    assert_eq!(world.row(id).bounds, Default::default());
    refused(Status::Queued);
    world.drive(id).expect_err("still dead, but it was tried");
    assert_eq!(world.row(id).attempts, 2);
    world.run(world.engine.retry(id)).expect("it failed");
    world.run(world.engine.cancel(id)).expect("it is queued");
    world.run(world.engine.retry(id)).expect("it is cancelled");
    let story = ["queued", "started", "failed", "queued", "started", "failed", "queued", "cancelled", "queued"];
    assert_eq!(world.host.story(id), story);
    assert!(matches!(world.run(world.engine.retry(99)), Err(Error::NoSuchDownload(99))));
}

#[test]
fn a_download_that_is_taken_up_before_its_drive_has_returned_is_announced() {
    let world = World::scripted(config(), [Ok(reply(404, &[], vec![]))]);
    let id = world.accept();
    let engine = Engine::new(Slow::new(world.host.clone(), seconds(0)), config(), true).expect("in range");
    let mut drive = Box::pin(engine.drive(id));
    while world.row(id).status != Status::Failed {
        assert!(world.run(at_most(1, drive.as_mut())).is_none(), "its ledger is slow");
    }
    world.run(engine.accept(new_download(URL, FILE))).expect("it failed");
    assert_eq!(world.host.story(id), ["queued", "started", "queued"]);
    world.run(drive).expect_err("404 is permanent");
    assert_eq!(world.row(id).status, Status::Queued);
}

#[test]
fn removing_deletes_row_and_part_but_no_finished_file() {
    let world = stalled();
    let id = world.accept();
    world.run(async {
        let meanwhile = async {
            wait(&world.clock, seconds(10)).await;
            let early = world.engine.remove(id).await;
            assert!(matches!(early, Err(Error::WrongState { .. })), "it is driven");
            world.engine.cancel(id).await.expect("in time");
        };
        let _ = futures::join!(world.engine.drive(id), meanwhile);
    });
    assert_eq!(world.part().map(|part| part.len()), Some(400));
    world.run(world.engine.remove(id)).expect("it is not driven");
    assert_eq!((world.part(), world.host.ledger.rows().len()), (None, 0));
    assert!(matches!(world.run(world.engine.remove(id)), Err(Error::NoSuchDownload(_))));
    let id = world.accept();
    assert!(id > 1, "no id is used twice");
    world.drive(id).expect("it is served");
    world.run(world.engine.remove(id)).expect("it is finished");
    world.assert_whole(&content(1000));
    assert_eq!(world.host.ledger.rows().len(), 0);
}
