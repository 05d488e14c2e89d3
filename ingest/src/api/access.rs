//! Who may ask the API: the bearer of the token, or without a token whoever is on this machine.

use std::net::IpAddr;

use hyper::{
    StatusCode,
    header::{AUTHORIZATION, HOST, ORIGIN},
};
use subtle::ConstantTimeEq;

use super::ApiError;
use crate::http::ApiRequest;

/// Who may ask.
pub struct Access {
    /// The bearer token, if one is set.
    pub token: Option<String>,
}

impl Access {
    /// Refuses a request that may not be answered.
    pub(super) fn check(&self, request: &ApiRequest) -> Result<(), ApiError> {
        match &self.token {
            Some(token) => check_token(token, request),
            None => check_local(request),
        }
    }
}

fn check_token(token: &str, request: &ApiRequest) -> Result<(), ApiError> {
    let given = request.headers.get(AUTHORIZATION).map(|value| value.as_bytes()).unwrap_or_default();
    let given = given.split_at_checked(7).filter(|(scheme, _)| scheme.eq_ignore_ascii_case(b"bearer "));
    if given.is_some_and(|(_, given)| given.ct_eq(token.as_bytes()).into()) {
        return Ok(());
    }
    let message = "This API needs `Authorization: Bearer` with the token in KEYWAY_API_TOKEN.";
    Err(ApiError::new(StatusCode::UNAUTHORIZED, "unauthorized", message))
}

/// Without a token only this machine is answered, and no web page that runs in a browser on it: a page of another
/// site shows itself in `Origin`, and one whose name was pointed at this machine in `Host`.
fn check_local(request: &ApiRequest) -> Result<(), ApiError> {
    let refused = |message: &str| Err(ApiError::new(StatusCode::FORBIDDEN, "forbidden", message));
    if !request.peer.ip().to_canonical().is_loopback() {
        return refused("Without KEYWAY_API_TOKEN only this machine is answered.");
    }
    let text = |name| {
        request.headers.get(name).map(|value: &hyper::header::HeaderValue| value.to_str().unwrap_or("?"))
    };
    if text(HOST).is_some_and(|host| !is_local(host)) {
        return refused("The `Host` of this request is another site.");
    }
    let site = text(ORIGIN).map(|origin| origin.split_once("://").map_or(origin, |(_, site)| site));
    // Another port of this machine is another site too.
    let is_own = |site: &str| match text(HOST) {
        Some(host) => site.eq_ignore_ascii_case(host),
        None => is_local(site),
    };
    if site.is_some_and(|site| !is_own(site)) {
        return refused("The `Origin` of this request is another site.");
    }
    Ok(())
}

fn is_local(authority: &str) -> bool {
    let host = match authority.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => authority.rsplit_once(':').map_or(authority, |(host, _)| host),
    };
    host.eq_ignore_ascii_case("localhost") || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}
