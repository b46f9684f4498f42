//! The body against a server that misbehaves by script.

use futures::TryStreamExt;
use regrip_core::{Error, RetryPolicy};
use regrip_example_resumable_body::{ResumableBody, get_with};
use regrip_faultd::faults::{
    Chunked, ContentRange, Cut, IgnoreRange, NoValidators, RangeShort, RangeStart, Replace, Stall, Status, Unframed,
};
use regrip_faultd::{Fault, FileScript, Script, Server, Version};
use reqwest::Client;
use std::time::{Duration, Instant};

const SIZE: u64 = 3_000_000;
const REACHED: u64 = 1_000_000;

fn version() -> Version {
    Version::new(1, SIZE).etag("\"v1\"")
}

fn client() -> Client {
    let tls =
        rustls::ClientConfig::builder().with_root_certificates(rustls::RootCertStore::empty()).with_no_client_auth();
    Client::builder().no_proxy().tls_backend_preconfigured(tls).build().unwrap()
}

fn policy() -> RetryPolicy {
    RetryPolicy::new(3, Duration::ZERO, Duration::from_secs(9)).unwrap()
}

/// The first GET is cut, and the second is answered with these faults.
fn cut_then(faults: Vec<Fault>) -> Server {
    let new = Version::new(2, SIZE).etag("\"v2\"");
    let file = FileScript::honest(version()).version(new).answer([Cut::after(REACHED)]).answer(faults);
    Server::start(Script::one("/big.tar", file)).unwrap()
}

/// All bytes, or those before the error.
async fn read(server: &Server) -> (Vec<u8>, Option<Error>) {
    let mut bytes = Vec::new();
    let body = match get_with(&client(), &server.url("/big.tar"), policy()).await {
        Ok(body) => body,
        Err(error) => return (bytes, Some(error)),
    };
    let mut body = std::pin::pin!(body.into_stream());
    loop {
        match body.try_next().await {
            Ok(Some(chunk)) => bytes.extend_from_slice(&chunk),
            Ok(None) => return (bytes, None),
            Err(error) => return (bytes, Some(error)),
        }
    }
}

/// The requests: status, Range and If-Range.
fn requests(server: &Server) -> Vec<(u16, Option<String>, Option<String>)> {
    server.log().into_iter().map(|entry| (entry.status, entry.range, entry.if_range)).collect()
}

async fn assert_whole(server: &Server) {
    let (bytes, error) = read(server).await;
    assert!(error.is_none(), "{error:?}");
    assert!(bytes == version().content().bytes(0..SIZE));
}

/// The bytes before the cut, and an error with this text.
async fn assert_ends(server: &Server, expected: &str) {
    let (bytes, error) = read(server).await;
    assert!(bytes == version().content().bytes(0..REACHED), "{} bytes", bytes.len());
    let error = error.expect("an error").to_string();
    assert!(error.contains(expected), "{error}");
}

#[tokio::test]
async fn a_cut_body_goes_on_with_the_rest_of_the_same_version() {
    let server = cut_then(Vec::new());
    assert_whole(&server).await;
    let rest = (206, Some("bytes=1000000-".to_owned()), Some("\"v1\"".to_owned()));
    assert_eq!(requests(&server), [(200, None, None), rest]);
}

#[tokio::test]
async fn a_range_that_ends_before_the_file_is_followed_by_another_one() {
    let server = cut_then(vec![RangeShort::to(500_000)]);
    assert_whole(&server).await;
    assert_eq!(requests(&server)[2].1.as_deref(), Some("bytes=1500000-"));
}

#[tokio::test]
async fn a_file_that_changed_ends_the_stream_before_its_first_byte() {
    assert_ends(&cut_then(vec![Replace::with(1)]), "validator_changed").await;
}

#[tokio::test]
async fn a_200_of_the_same_version_is_used_from_where_the_cut_was() {
    let server = cut_then(vec![IgnoreRange::always()]);
    assert_whole(&server).await;
    assert_eq!(requests(&server).iter().map(|(status, ..)| *status).collect::<Vec<_>>(), [200, 200]);
}

#[tokio::test]
async fn a_200_of_another_version_ends_the_stream() {
    let faults = vec![Replace::with(1), IgnoreRange::always()];
    assert_ends(&cut_then(faults), "validator_changed").await;
}

#[tokio::test]
async fn a_wrong_content_range_ends_the_stream() {
    for fault in [RangeStart::shifted(-5), ContentRange::values(["bytes 0-1999999/3000000"])] {
        assert_ends(&cut_then(vec![fault]), "content_range_mismatch").await;
    }
}

#[tokio::test]
async fn a_cut_body_without_a_validator_ends_the_stream_without_another_request() {
    let file = FileScript::honest(Version::new(1, SIZE)).then([NoValidators::at_all()]);
    let file = file.answer([NoValidators::at_all(), Cut::after(REACHED)]);
    let server = Server::start(Script::one("/big.tar", file)).unwrap();
    assert_ends(&server, "no strong validator").await;
    assert_eq!(requests(&server).len(), 1);
}

#[tokio::test]
async fn a_retry_after_is_waited_for_and_the_rest_requested_then() {
    let server = cut_then(vec![Status::retry_after(503, "1")]);
    let begun = Instant::now();
    assert_whole(&server).await;
    assert!(begun.elapsed() >= Duration::from_secs(1));
    let statuses: Vec<u16> = requests(&server).iter().map(|(status, ..)| *status).collect();
    assert_eq!(statuses, [200, 503, 206]);
}

#[tokio::test]
async fn attempts_without_a_new_byte_are_bounded() {
    let file = FileScript::honest(version()).answer([Cut::after(REACHED)]).then([Status::code(503)]);
    let server = Server::start(Script::one("/big.tar", file)).unwrap();
    assert_ends(&server, "the server answered 503").await;
    assert_eq!(requests(&server).len(), 3, "a cut is an attempt");
}

#[tokio::test]
async fn a_status_that_no_attempt_changes_is_returned_at_once() {
    let server =
        Server::start(Script::one("/big.tar", FileScript::honest(version()).then([Status::code(404)]))).unwrap();
    let (bytes, error) = read(&server).await;
    assert!(bytes.is_empty() && matches!(error, Some(Error::Status { status: 404, .. })), "{error:?}");
    assert_eq!(requests(&server).len(), 1);
}

#[tokio::test]
async fn a_chunked_body_goes_on_after_a_cut_and_ends_with_its_last_chunk() {
    let file =
        FileScript::honest(version()).answer([Chunked::of(9_000), Cut::after(REACHED)]).then([Chunked::of(9_000)]);
    let server = Server::start(Script::one("/big.tar", file)).unwrap();
    assert_whole(&server).await;
    assert_eq!(requests(&server)[1].1.as_deref(), Some("bytes=1000000-"));
}

#[tokio::test]
async fn a_body_whose_end_nothing_marks_is_refused() {
    let file = FileScript::honest(version()).then([Unframed::body()]);
    let server = Server::start(Script::one("/big.tar", file)).unwrap();
    let (_, error) = read(&server).await;
    assert!(matches!(error, Some(Error::UnknownSize)), "{error:?}");
}

#[tokio::test]
async fn a_stream_that_is_dropped_closes_its_connection() {
    let file = FileScript::honest(version()).answer([Stall::after(REACHED)]);
    let server = Server::start(Script::one("/big.tar", file)).unwrap();
    let mut body: ResumableBody = get_with(&client(), &server.url("/big.tar"), policy()).await.unwrap();
    assert_eq!(body.size(), Some(SIZE));
    let mut got = 0;
    while got < REACHED {
        got += body.next().await.unwrap().unwrap().len() as u64;
    }
    drop(body);
    while !server.log()[0].peer_closed {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(requests(&server).len(), 1);
}
