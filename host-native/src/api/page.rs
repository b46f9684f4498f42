//! The dashboard, for whoever may log in: its files say nothing that the source does not.

use super::Api;
use super::dashboard::{self, CONTENT_SECURITY_POLICY as POLICY, File};
use crate::ledger::NativeLedger;
use crate::server::{Asked, Payload, Refusal, Reply};
use bytes::Bytes;
use hyper::StatusCode;
use hyper::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderValue, REFERRER_POLICY,
};
use std::sync::Arc;

pub(super) async fn index<L: NativeLedger>(_: Arc<Api<L>>, _: Asked) -> Result<Reply, Refusal> {
    Ok(served(&dashboard::INDEX))
}

pub(super) async fn file<L: NativeLedger>(_: Arc<Api<L>>, asked: Asked) -> Result<Reply, Refusal> {
    dashboard::file(asked.captured())
        .map(served)
        .ok_or_else(|| Refusal::not_found("the dashboard has no file of this name"))
}

fn served(file: &File) -> Reply {
    let payload = Payload::Bytes(Bytes::from_static(file.text.as_bytes()));
    Reply::new(StatusCode::OK, payload)
        .header(CONTENT_TYPE, HeaderValue::from_static(file.content_type))
        .header(CACHE_CONTROL, HeaderValue::from_static("no-cache"))
        .header(CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY))
        .header(REFERRER_POLICY, HeaderValue::from_static("no-referrer"))
}
