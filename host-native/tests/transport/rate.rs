//! A rate for all bodies together. How exactly it is kept is measured by hand; here it is only never exceeded, which a slow
//! machine cannot spoil.

use crate::support::{Server, ok, options, plain};
use regrip::transport::HttpTransport;
use regrip_core::transport::{Body, Transport};
use std::num::NonZeroU64;
use std::time::{Duration, Instant};

const BODY: usize = 100_000;

async fn paced(transport: &HttpTransport, url: &str) -> Vec<usize> {
    let mut response = transport.get(plain(url)).await.unwrap();
    let mut pieces = Vec::new();
    while let Some(chunk) = response.body.chunk().await.unwrap() {
        let length = chunk.len();
        pieces.push(length);
        transport.pace(length as u64).await;
    }
    pieces
}

#[test]
fn all_bodies_together_keep_to_the_rate_in_small_pieces() {
    let server = Server::new(|_| ok(&"x".repeat(BODY)));
    let mut options = options();
    options.bytes_per_second = NonZeroU64::new(400_000);
    let transport = HttpTransport::new(options);
    let url = server.url("/");
    let begun = Instant::now();
    let (one, other) = smol::block_on(async { futures::join!(paced(&transport, &url), paced(&transport, &url)) });
    // Half a second for both, less what a pause may be made up for and what is too short to wait for.
    assert!(begun.elapsed() >= Duration::from_millis(390), "{:?}", begun.elapsed());
    for pieces in [one, other] {
        assert_eq!(pieces.iter().sum::<usize>(), BODY);
        assert!(pieces.iter().all(|piece| *piece <= 40_000), "{pieces:?}");
    }
}
