//! One file over several connections: pieces in order, whatever a server does with them.

mod sources;
#[path = "../world/mod.rs"]
mod world;

use regrip_core::config::Connections;
use regrip_core::ledger::Ledger;
use regrip_core::record::{Behaviour, NewDownload, Source};
use regrip_core::store::StoreRules;
use regrip_core::testing::{Asked, FakeTransport, Piece, Reply, new_download};
use regrip_core::time::Clock;
use regrip_core::transport::RequestRules;
use regrip_core::{Change, DownloadsConfig, Error};
use std::future::poll_fn;
use std::pin::pin;
use std::sync::LazyLock;
use std::time::Duration;
use world::{World, broken, bytes_of, reply, seconds};

const SIZE: usize = 12 << 20;
static CONTENT: LazyLock<Vec<u8>> = LazyLock::new(|| bytes_of(1, SIZE));
static OTHER: LazyLock<Vec<u8>> = LazyLock::new(|| bytes_of(2, SIZE));
/// A connection transfers this much in each step of 100 ms: 640 kB/s.
const STEP_BYTES: usize = 64 << 10;
const STEP: Duration = Duration::from_millis(100);

fn config(connections: u32) -> DownloadsConfig {
    DownloadsConfig { connections_per_download: Connections::Fixed(connections), ..DownloadsConfig::default() }
}

/// The answer of an honest server whose line limits each connection.
fn honest(content: &[u8], etag: &str, asked: &Asked) -> Reply {
    let size = content.len();
    let first = asked.first.unwrap_or(0) as usize;
    let end = asked.last.map_or(size, |last| size.min(last as usize + 1));
    let steps = content[first..end].chunks(STEP_BYTES);
    let body = steps.flat_map(|step| [Piece::Wait(STEP), Piece::Bytes(step.to_vec())]).collect();
    let (length, range) = ((end - first).to_string(), format!("bytes {first}-{}/{size}", end - 1));
    match asked.first {
        Some(_) => reply(206, &[("content-length", &length), ("content-range", &range), ("etag", etag)], body),
        None => reply(200, &[("content-length", &length), ("etag", etag)], body),
    }
}

/// A world whose server answers the n-th request (from 0) by `answer`, if that has one, else honestly.
fn world(
    config: DownloadsConfig,
    mut answer: impl FnMut(usize, &Asked, Reply) -> Result<Reply, Error> + Send + 'static,
) -> World {
    let mut n = 0;
    World::answering(config, move |asked| {
        n += 1;
        answer(n - 1, asked, honest(&CONTENT, "\"v1\"", asked))
    })
}

fn ranges(world: &World) -> Vec<(u64, u64)> {
    let requests = world.host.transport.requests();
    requests.iter().filter_map(|asked| Some((asked.first?, asked.last?))).collect()
}

#[test]
fn four_connections_take_a_quarter_of_the_time_and_receive_each_byte_once() {
    let world = world(config(4), |_, _, honest| Ok(honest));
    let summary = world.get().unwrap();
    world.assert_whole(&CONTENT);
    assert_eq!(summary.attempts, 1);
    // 12 MiB at 640 kB/s are 19.2 s.
    assert!(world.clock.elapsed() < seconds(7), "{:?}", world.clock.elapsed());
    let ranges = ranges(&world);
    assert_eq!(ranges.len(), 3, "{ranges:?}");
    assert!(ranges.windows(2).all(|pair| pair[0].1 < pair[1].0), "{ranges:?}");
    assert_eq!(world.host.story(1), ["queued", "started", "headers", "completed"]);
    let if_ranges = world.host.transport.requests().into_iter().skip(1).map(|asked| asked.if_range);
    assert!(if_ranges.into_iter().all(|if_range| if_range.as_deref() == Some("\"v1\"")));
}

#[test]
fn without_a_strong_etag_one_connection_is_used() {
    for etag in [Some("W/\"v1\""), None] {
        let world = world(config(4), move |_, _, mut honest| {
            honest.headers = honest.headers.all("content-length").map(|length| ("content-length", length)).collect();
            honest.headers.push("etag", etag.unwrap_or("").as_bytes());
            Ok(honest)
        });
        world.get().unwrap();
        world.assert_whole(&CONTENT);
        assert_eq!(world.host.transport.requests().len(), 1, "{etag:?}");
    }
}

/// How a server answers one piece wrongly.
type Wrong = fn(&Asked, Reply) -> Reply;

const WRONG: [(&str, Wrong); 8] = [
    ("the whole file", |_, _| honest(&CONTENT, "\"v1\"", &whole_file())),
    ("another version", |asked, _| honest(&OTHER, "\"v2\"", asked)),
    ("another version as a whole", |_, _| honest(&OTHER, "\"v2\"", &whole_file())),
    ("no etag", |asked, honest| Reply { headers: without_etag(&honest), ..self::honest(&CONTENT, "", asked) }),
    ("another size", |asked, _| honest(&CONTENT[..SIZE - 1], "\"v1\"", asked)),
    ("other bytes than asked for", |asked, _| {
        let first = asked.first.map(|first| first + 1);
        honest(&CONTENT, "\"v1\"", &Asked { first, ..asked.clone() })
    }),
    ("429", |_, _| reply(429, &[("retry-after", "1")], Vec::new())),
    ("503", |_, _| reply(503, &[], Vec::new())),
];

fn whole_file() -> Asked {
    Asked { url: String::new(), first: None, last: None, if_range: None, at: Duration::ZERO }
}

fn without_etag(reply: &Reply) -> regrip_core::transport::Headers {
    let names = ["content-length", "content-range"];
    names.into_iter().filter_map(|name| Some((name, reply.headers.only(name)?.to_owned()))).collect()
}

#[test]
fn an_answer_that_does_not_fit_a_piece_ends_striping_and_never_the_download() {
    for (name, wrong) in WRONG {
        for at in [1, 2, 3] {
            let world =
                world(config(4), move |n, asked, honest| Ok(if n == at { wrong(asked, honest) } else { honest }));
            let summary = world.get().unwrap_or_else(|error| panic!("{name} {at}: {error}"));
            assert!(world.file().as_ref() == Some(&CONTENT), "{name} {at}");
            world.assert_at_rest();
            assert_eq!((summary.attempts, summary.restarts), (1, 0), "{name} {at}");
            // The first response goes on, or the rest is requested by one request.
            let (requests, misfit) = (world.host.transport.requests(), at + 1);
            let is_rest = |asked: &Asked| asked.last.is_none();
            assert!(requests[misfit..].iter().all(|asked| is_rest(asked) || asked.at == Duration::ZERO), "{name} {at}");
        }
    }
}

#[test]
fn a_new_version_in_the_middle_never_mixes() {
    for changed_at in 1..6 {
        let mut n = 0;
        let world = World::answering(config(4), move |asked| {
            n += 1;
            let (now, etag) = if n > changed_at { (&OTHER, "\"v2\"") } else { (&CONTENT, "\"v1\"") };
            let same = asked.if_range.as_deref().is_none_or(|if_range| if_range == etag);
            Ok(honest(now, etag, &Asked { first: asked.first.filter(|_| same), ..asked.clone() }))
        });
        world.get().unwrap();
        let file = world.file().unwrap();
        assert!(file == *OTHER || file == *CONTENT, "changed at {changed_at}: a mix");
        world.assert_at_rest();
    }
}

#[test]
fn a_piece_that_breaks_is_requested_again_without_costing_an_attempt() {
    let world = world(config(4), |n, _, mut honest| {
        if n % 2 == 1 {
            honest.body.truncate(5);
            honest.body.push(Piece::Break(broken()));
        }
        Ok(honest)
    });
    assert_eq!(world.get().unwrap().attempts, 1);
    world.assert_whole(&CONTENT);
}

#[test]
fn the_first_response_goes_on_to_the_end_if_the_server_takes_no_second_connection() {
    for refusal in [|| Ok(reply(503, &[], Vec::new())), || Err(broken())] as [fn() -> Result<Reply, Error>; 2] {
        let world = world(config(4), move |n, _, honest| if n == 0 { Ok(honest) } else { refusal() });
        assert_eq!(world.get().unwrap().attempts, 1);
        world.assert_whole(&CONTENT);
    }
}

#[test]
fn a_pause_amid_pieces_keeps_those_up_to_the_first_gap_and_a_resume_goes_on_from_there() {
    let world = world(config(4), |_, _, honest| Ok(honest));
    let id = world.accept();
    let ended = world.run(async {
        let pause = async {
            world.clock.sleep(seconds(2)).await;
            world.engine.pause(id).await
        };
        futures::future::join(world.engine.drive(id), pause).await
    });
    assert!(matches!(ended, (Err(Error::Paused), Ok(()))), "{ended:?}");
    world.assert_at_rest();
    let part = world.part().unwrap();
    assert!(CONTENT.starts_with(&part) && !part.is_empty());
    let before = world.host.transport.requests().len();
    world.run(world.engine.resume(id)).unwrap();
    world.drive(id).unwrap();
    world.assert_whole(&CONTENT);
    let requests = world.host.transport.requests();
    assert_eq!(requests[before].first, Some(part.len() as u64));
    assert!(requests.len() > before + 1, "it resumes over several connections");
}

#[test]
fn pieces_that_break_without_progress_fail_the_attempt_as_one_connection_would() {
    let world = world(config(4), |n, _, mut honest| match n {
        0 => {
            honest.body.truncate(5);
            honest.body.push(Piece::Break(broken()));
            Ok(honest)
        }
        1..=6 => Err(broken()),
        _ => Ok(honest),
    });
    let summary = world.get().unwrap();
    assert!(summary.attempts > 1, "{summary:?}");
    world.assert_whole(&CONTENT);
}

#[test]
fn a_front_piece_that_stands_still_is_requested_again_by_an_idle_connection() {
    let world = world(config(3), |n, _, mut honest| {
        if n == 1 {
            honest.body.truncate(4);
            honest.body.push(Piece::Forever);
        }
        Ok(honest)
    });
    assert_eq!(world.get().unwrap().attempts, 1);
    world.assert_whole(&CONTENT);
    assert!(world.clock.elapsed() < seconds(20), "{:?}", world.clock.elapsed());
}

#[test]
fn a_slow_connection_does_not_hold_up_the_others() {
    let world = world(config(4), |n, _, mut honest| {
        if n == 2 {
            for piece in &mut honest.body {
                if let Piece::Wait(wait) = piece {
                    *wait *= 50;
                }
            }
        }
        Ok(honest)
    });
    world.get().unwrap();
    world.assert_whole(&CONTENT);
    assert!(world.clock.elapsed() < seconds(20), "{:?}", world.clock.elapsed());
}

#[test]
fn a_window_of_almost_nothing_slows_it_down_and_blocks_nothing() {
    for window_bytes in [0, 1, 300 << 10, 1 << 20] {
        let world = world(DownloadsConfig { window_bytes, ..config(4) }, |_, _, honest| Ok(honest));
        world.get().unwrap();
        world.assert_whole(&CONTENT);
    }
}

#[test]
fn a_sink_that_only_appends_gets_the_stripes_in_order() {
    let world = world(config(4), |_, _, honest| Ok(honest));
    world.host.store.set_rules(StoreRules { read_back_bytes: 0, truncate: false, durable_unit_bytes: 1 });
    world.get().unwrap();
    world.assert_whole(&CONTENT);
    assert!(!ranges(&world).is_empty());
}

#[test]
fn further_connections_to_one_origin_are_bounded_over_all_downloads() {
    // One connection of each download is its own; the others share what is left.
    for (per_origin, expected) in [(1, 2), (4, 5)] {
        let config = DownloadsConfig { connections_per_origin: per_origin, ..config(8) };
        let world = world(config, |_, _, honest| Ok(honest));
        let [one, other] = ["/films/a.mkv", "/films/b.mkv"].map(|path| {
            let accepted = world.run(world.engine.accept(new_download(&format!("{}?{path}", world::URL), path)));
            accepted.unwrap().id
        });
        let mut most = 0;
        let both = world.run(async {
            let mut both = pin!(futures::future::join(world.engine.drive(one), world.engine.drive(other)));
            poll_fn(|context| {
                most = most.max(world.host.transport.open_bodies());
                both.as_mut().poll(context)
            })
            .await
        });
        assert!(both.0.is_ok() && both.1.is_ok());
        assert!(most <= expected, "{most} connections");
        world.assert_at_rest();
    }
}

#[test]
fn a_cancel_ends_every_connection() {
    let world = world(config(4), |_, _, honest| Ok(honest));
    let id = world.accept();
    let ended = world.run(async {
        let cancel = async {
            world.clock.sleep(seconds(2)).await;
            world.engine.cancel(id).await
        };
        futures::future::join(world.engine.drive(id), cancel).await
    });
    assert!(matches!(ended, (Err(Error::Cancelled), Ok(()))), "{ended:?}");
    world.assert_at_rest();
    let part = world.part().unwrap();
    assert!(CONTENT.starts_with(&part) && !part.is_empty());
    world.run(world.engine.retry(id)).unwrap();
    world.drive(id).unwrap();
    world.assert_whole(&CONTENT);
}

#[test]
fn auto_keeps_adding_connections_only_while_that_helps() {
    let config = DownloadsConfig { connections_per_download: Connections::Auto, ..DownloadsConfig::default() };
    let world = world(config, |_, _, honest| Ok(honest));
    world.get().unwrap();
    world.assert_whole(&CONTENT);
    assert!(world.clock.elapsed() < seconds(14), "{:?}", world.clock.elapsed());
    assert!(!ranges(&world).is_empty());
}

#[test]
fn no_further_connection_is_opened_while_another_download_waits_for_the_origin() {
    let config = DownloadsConfig { max_concurrent_per_peer: Some(1), ..config(4) };
    // The second one waits before the first one has bytes.
    let world = world(config, |n, _, honest| Ok(Reply { delay: if n == 0 { STEP } else { Duration::ZERO }, ..honest }));
    let [one, other] = ["1", "2"].map(|item| {
        let source = Source::Peer {
            peer_id: "aabbccdd".to_owned(),
            peer_name: "Peer".to_owned(),
            item_id: item.to_owned(),
            url: format!("{}?{item}", world::URL),
        };
        let new = NewDownload { source, ..new_download(world::URL, &format!("/films/{item}.mkv")) };
        world.run(world.engine.accept(new)).unwrap().id
    });
    let both = world.run(async { futures::future::join(world.engine.drive(one), world.engine.drive(other)).await });
    assert!(both.0.is_ok() && both.1.is_ok(), "{both:?}");
    let requests = world.host.transport.requests();
    let times = |item: &str| -> Vec<Duration> {
        requests.iter().filter(|asked| asked.url.ends_with(item)).map(|asked| asked.at).collect()
    };
    let is_one_by_one = |times: &[Duration]| times.windows(2).all(|pair| pair[1] > pair[0]);
    assert!(is_one_by_one(&times("?1")), "the other one waits all the time: {requests:?}");
    assert!(!is_one_by_one(&times("?2")), "nothing waits any more: {requests:?}");
}

#[test]
fn a_connection_is_opened_again_after_another_one_has_ended() {
    // Pieces of 1 MiB: after the first three, each needs a connection of its own.
    let config = DownloadsConfig { window_bytes: 4 << 20, connections_per_origin: 4, ..config(4) };
    let world = world(config, |_, _, honest| Ok(honest));
    world.get().unwrap();
    world.assert_whole(&CONTENT);
    assert!(world.clock.elapsed() < seconds(8), "{:?}", world.clock.elapsed());
    assert!(ranges(&world).iter().all(|(first, last)| last - first < 1 << 20), "no more than its share of the memory");
}

#[test]
fn a_connection_that_fails_once_is_made_again_whatever_the_error() {
    let world = world(config(4), |n, _, honest| match n {
        1 => Err(Error::Certificate("expired".to_owned())),
        _ => Ok(honest),
    });
    world.get().unwrap();
    world.assert_whole(&CONTENT);
    assert!(world.clock.elapsed() < seconds(7), "{:?}", world.clock.elapsed());
}

#[test]
fn a_host_that_cannot_send_if_range_sends_none() {
    let mut world = World::scripted(config(4), []);
    let rules = RequestRules { if_range: false, ..RequestRules::FREE };
    let peer = |asked: &Asked| Ok(honest(&CONTENT, "\"v1\"", asked));
    world.host.transport = FakeTransport::new(world.clock.clone(), peer).with_rules(rules);
    let world = World::on(world.host, config(4));
    world.get().unwrap();
    world.assert_whole(&CONTENT);
    assert!(ranges(&world).len() > 2 && world.asked().iter().all(|(_, if_range)| if_range.is_none()));
}

#[test]
fn a_source_that_sends_a_few_bytes_of_each_range_ends_the_attempt_where_they_end() {
    let world = world(config(2), |n, asked, honest| {
        let last = asked.first.map(|first| first + 9);
        Ok(if (1..=4).contains(&n) {
            self::honest(&CONTENT, "\"v1\"", &Asked { last, ..asked.clone() })
        } else {
            honest
        })
    });
    world.get().unwrap();
    world.assert_whole(&CONTENT);
    let end = world.host.ledger.timeline(1)[0].end.clone().unwrap();
    assert_eq!(end.to, (SIZE / 2 + 40) as u64);
    assert_eq!(end.error.unwrap().text, format!("the response body ended after {} of {SIZE} bytes", end.to));
}

#[test]
fn the_memory_of_a_transfer_that_is_paused_is_given_back() {
    let world = world(DownloadsConfig { window_bytes: 4 << 20, ..config(4) }, |_, _, honest| Ok(honest));
    let id = world.accept();
    for _ in 0..3 {
        let before = world.host.transport.requests().len();
        let ended = world.run(async {
            let pause = async {
                world.clock.sleep(seconds(1)).await;
                world.engine.pause(id).await
            };
            futures::future::join(world.engine.drive(id), pause).await
        });
        assert!(matches!(ended, (Err(Error::Paused), Ok(()))), "{ended:?}");
        assert_eq!(world.host.transport.requests().len() - before, 4);
        world.run(world.engine.resume(id)).unwrap();
    }
    world.drive(id).unwrap();
    world.assert_whole(&CONTENT);
}

#[test]
fn further_connections_are_opened_while_another_download_waits_for_a_permit_of_the_engine() {
    let config = DownloadsConfig { max_concurrent_downloads: 1, ..config(4) };
    let world = world(config, |n, _, honest| Ok(Reply { delay: if n == 0 { STEP } else { Duration::ZERO }, ..honest }));
    let ids = ["1", "2"].map(|item| {
        let new = new_download(&format!("{}?{item}", world::URL), &format!("/films/{item}.mkv"));
        world.run(world.engine.accept(new)).unwrap().id
    });
    let both = world.run(async { futures::future::join(world.engine.drive(ids[0]), world.engine.drive(ids[1])).await });
    assert!(both.0.is_ok() && both.1.is_ok(), "{both:?}");
    for item in ["?1", "?2"] {
        let requests = world.host.transport.requests();
        let of_item: Vec<_> = requests.iter().filter(|asked| asked.url.ends_with(item)).map(|asked| asked.at).collect();
        assert!(of_item.len() > 3 && of_item[3] < of_item[0] + seconds(1), "{of_item:?}");
    }
}

#[test]
fn a_response_that_is_compared_first_or_is_not_all_of_the_rest_is_not_split() {
    let compared: Wrong = |_, _| honest(&CONTENT, "\"v1\"", &whole_file());
    let capped: Wrong = |asked, _| {
        // The last rest is too short to be split.
        let last = asked.first.map(|first| first + (5 << 20));
        honest(&CONTENT, "\"v1\"", &Asked { last, ..asked.clone() })
    };
    for answer in [compared, capped] {
        // One connection, whose download fails after 20 steps, and then more.
        let world = world(config(1), move |n, asked, mut honest| {
            Ok(match n {
                0 => {
                    honest.body.truncate(40);
                    honest.body.push(Piece::Break(Error::Certificate("expired".to_owned())));
                    honest
                }
                _ => answer(asked, honest),
            })
        });
        world.get().unwrap_err();
        assert_eq!(world.part().unwrap().len(), 20 * STEP_BYTES);
        let world = World::on(world.host, config(4));
        world.run(world.engine.retry(1)).unwrap();
        world.drive(1).unwrap();
        world.assert_whole(&CONTENT);
        let requests = world.host.transport.requests();
        assert!(requests.iter().all(|asked| asked.last.is_none()), "{requests:?}");
    }
}

#[test]
fn a_url_on_trial_and_a_source_that_refuses_ranges_get_one_connection() {
    let mirror = "http://mirror.example/film.mkv";
    for refuses_ranges in [true, false] {
        let world = world(config(4), move |n, _, honest| match n {
            0 if !refuses_ranges => Ok(reply(404, &[], vec![])),
            _ => Ok(honest),
        });
        let new = NewDownload { mirrors: vec![mirror.to_owned()], ..new_download(world::URL, world::FILE) };
        let id = world.run(world.engine.accept(new)).unwrap().id;
        let learned = Change::Learned(Behaviour { refuses_ranges, ..Behaviour::default() });
        world.run(world.host.ledger.record(id, &learned, world.clock.wall())).unwrap();
        let world = World::on(world.host, config(4));
        world.drive(id).unwrap();
        world.assert_whole(&CONTENT);
        assert!(ranges(&world).is_empty(), "refuses ranges: {refuses_ranges}");
        assert_eq!(world.row(id).new.source.url() == mirror, !refuses_ranges);
    }
}

#[test]
fn a_file_of_a_mebibyte_is_split_and_two_connections_are_enough() {
    for (size, connections, expected) in
        [(1 << 20, 4, true), ((1 << 20) - 1, 4, false), (SIZE, 2, true), (SIZE, 1, false)]
    {
        let world = World::answering(config(connections), move |asked| Ok(honest(&CONTENT[..size], "\"v1\"", asked)));
        world.get().unwrap();
        world.assert_whole(&CONTENT[..size]);
        assert_eq!(!ranges(&world).is_empty(), expected, "{size} bytes, {connections} connections");
    }
}
