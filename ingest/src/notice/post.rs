//! Notices by a POST of JSON.

use std::time::Duration;

use keyway_engine::project::ResolvedSecret;
use ureq::Agent;

use super::{Notice, mail::words};

/// Posts a notice; any status from 200 to 299 says that it was taken.
pub fn send(url: &ResolvedSecret, notice: &Notice, timeout: Duration) -> Result<(), String> {
    let url = url.as_ref().map_err(|_| "webhook: the secret of its url is missing".to_owned())?;
    let agent: Agent = Agent::config_builder().timeout_global(Some(timeout)).build().into();
    let sent = agent.post(&url.0).send_json(&notice.json);
    sent.map(drop).map_err(|error| format!("webhook: {}", words(&error, &url.0)))
}
