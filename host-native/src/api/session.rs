//! `/ping` and `/api/session`.

use super::Api;
use crate::ledger::NativeLedger;
use crate::server::{Asked, Payload, Refusal, Reply};
use hyper::StatusCode;
use hyper::header::SET_COOKIE;
use serde::Deserialize;
use serde_json::json;
use std::fmt;
use std::sync::Arc;

pub(super) async fn ping<L: NativeLedger>(_: Arc<Api<L>>, _: Asked) -> Result<Reply, Refusal> {
    Ok(Reply::json(&json!({ "status": "OK" })))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Login {
    key: String,
}

impl fmt::Debug for Login {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Login")
    }
}

pub(super) async fn log_in<L: NativeLedger>(
    api: Arc<Api<L>>,
    mut asked: Asked,
) -> Result<Reply, Refusal> {
    let login: Login = asked.json().await?;
    let cookie = api.door.log_in(&login.key, asked.headers(), asked.from())?;
    let reply = Reply::new(StatusCode::NO_CONTENT, Payload::Empty);
    Ok(match cookie {
        Some(cookie) => reply.text_header(SET_COOKIE, &cookie),
        None => reply,
    })
}

pub(super) async fn log_out<L: NativeLedger>(
    api: Arc<Api<L>>,
    asked: Asked,
) -> Result<Reply, Refusal> {
    let cookie = api.door.log_out(asked.headers());
    let reply = Reply::new(StatusCode::NO_CONTENT, Payload::Empty);
    Ok(reply.text_header(SET_COOKIE, &cookie))
}
