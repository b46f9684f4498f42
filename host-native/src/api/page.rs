//! The dashboard: three files, embedded as they are, for whoever may log in.

use super::Api;
use crate::server::{Asked, Payload, Refusal, Reply};
use bytes::Bytes;
use futures::FutureExt;
use futures::future::{BoxFuture, ready};
use hyper::StatusCode;
use hyper::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderValue, REFERRER_POLICY,
};
use std::sync::Arc;

/// Nothing but these files and the API: no script of a name that slipped in as markup, no other origin, no frame.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; \
                      form-action 'none'; base-uri 'none'; frame-ancestors 'none'";

type Answer = BoxFuture<'static, Result<Reply, Refusal>>;

pub(super) fn index(_: Arc<Api>, _: Asked) -> Answer {
    file(
        "text/html; charset=utf-8",
        include_str!("dashboard/index.html"),
    )
}

pub(super) fn style(_: Arc<Api>, _: Asked) -> Answer {
    file(
        "text/css; charset=utf-8",
        include_str!("dashboard/dashboard.css"),
    )
}

pub(super) fn script(_: Arc<Api>, _: Asked) -> Answer {
    file(
        "text/javascript; charset=utf-8",
        include_str!("dashboard/dashboard.js"),
    )
}

fn file(kind: &'static str, content: &'static str) -> Answer {
    let payload = Payload::Bytes(Bytes::from_static(content.as_bytes()));
    let reply = Reply::new(StatusCode::OK, payload)
        .header(CONTENT_TYPE, HeaderValue::from_static(kind))
        .header(CACHE_CONTROL, HeaderValue::from_static("no-cache"))
        .header(CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY))
        .header(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    ready(Ok(reply)).boxed()
}
