//! The sources from which a transfer fetches pieces: which they are, and which are dropped.
//!
//! Invariant: pieces are from a source other than the first only if a digest that was given vouches for the whole file, and never
//! again after it differed.

use crate::classify::Class;
use crate::config::Connections;
use crate::error::{Error, Failed, chain};
use crate::event::display_url;
use crate::host::Host;
use crate::http::is_strong_etag;
use crate::job::Job;
use crate::origin::Seat;
use crate::pieces::{PieceSource, Terms as PieceTerms};
use crate::record::{Behaviour, Change, DigestRow, Source, Validators};
use crate::stripe::Table;
use crate::taking::Taking;

/// A rest that is shorter than this is requested over one connection.
const LEAST_STRIPED_BYTES: u64 = 1 << 20;

/// Drops the sources that do not serve the file.
pub(crate) async fn drop_liars<H: Host>(job: &mut Job<'_, H>, liars: Vec<(String, Error)>) -> Result<(), Failed> {
    for (url, error) in liars {
        if job.class(&error) == Class::Permanent && job.row.new.mirrors.contains(&url) {
            let mut terms = job.row.terms();
            terms.mirrors.retain(|mirror| *mirror != url);
            job.record(Change::Terms(terms)).await?;
            let why = match error {
                Error::Protocol(why) => why,
                error => chain(&error),
            };
            let dropped = format!("{} is no longer a source: {why}", display_url(&url));
            let before = match job.warning.take() {
                Some(Error::Protocol(before)) => before + "; ",
                _ => String::new(),
            };
            job.warning = Some(Error::Protocol(before + &dropped));
        }
    }
    Ok(())
}

/// The table of several connections, if the response is the rest of a version that pieces can be requested of.
pub(crate) fn table<'h, H: Host>(job: &Job<'h, H>, taking: &Taking, offset: u64) -> Option<Table<'h, H>> {
    let (config, size) = (&job.config, taking.size?.bytes);
    let connections = config.connections_per_download;
    let strong = taking.validators.etag.as_deref().is_some_and(is_strong_etag);
    let is_rest = taking.first == offset && taking.end == Some(size);
    let refused = job.one_connection || job.candidate.is_some() || job.row.behaviour.refuses_ranges;
    if connections.most() < 2 || !strong || !is_rest || refused || size.saturating_sub(offset) < LEAST_STRIPED_BYTES {
        return None;
    }
    let extras = |seat: &Seat| seat.extras(config.connections_per_origin);
    let first = PieceSource {
        url: job.url().to_owned(),
        validators: taking.validators.clone(),
        behaviour: job.row.behaviour.clone(),
        extras: extras(&job.seat),
    };
    let mut sources = vec![first];
    let wanted: Vec<_> = job.digests().filter(|row| row.is_given()).filter_map(DigestRow::checksum).collect();
    // Once the digest showed that a source lies, the bytes are from one source only.
    if !H::ALONE && !wanted.is_empty() && !job.row.digest_restarted {
        let others = job.row.new.mirrors.iter().filter(|url| *url != job.url()).map(|url| PieceSource {
            url: url.clone(),
            validators: Validators::default(),
            behaviour: Behaviour::default(),
            extras: extras(&job.origins.seat(&Source::Url { url: url.clone() }, config)),
        });
        sources.extend(others);
    }
    let terms = PieceTerms {
        sources,
        wanted,
        size,
        connections: connections.most() as usize,
        auto: connections == Connections::Auto,
        progress_bytes: config.progress_reset_bytes,
        share_bytes: config.window_bytes / u64::from(connections.most()),
        window: job.window.clone(),
    };
    Some(Table::new(job.host, terms, offset))
}
