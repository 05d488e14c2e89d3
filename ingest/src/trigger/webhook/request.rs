//! `state.request`: the JSON that tells a job how its input came.
//!
//! `{"method", "path", "query_params", "headers"}` as in OpenFn: path segments with the leading `i`, nested query
//! parameters, lower-case header names of which the last value counts.

use bytes::Bytes;
use encoding_rs::UTF_8;
use hyper::{
    HeaderMap, Version,
    header::{HOST, HeaderName, TRANSFER_ENCODING},
    http::request::Parts,
};
use serde_json::Value;

use super::body::form::Params;

const REDACTED: &str = "[REDACTED]";

/// Whether another server could take a request with this head for a different one (RFC 9112, sections 3.2 and 6.1).
pub fn is_ambiguous(parts: &Parts) -> bool {
    let codings = parts.headers.get_all(TRANSFER_ENCODING).iter();
    let is_coded = codings
        .enumerate()
        .any(|(index, value)| index > 0 || !value.as_bytes().eq_ignore_ascii_case(b"chunked"));
    let hosts = parts.headers.get_all(HOST).iter().take(2).count();
    is_coded || hosts > 1 || hosts == 0 && parts.version == Version::HTTP_11
}

/// The JSON of a request, or what is wrong with its query.
pub fn describe(parts: &Parts, secrets: &[String]) -> Result<Bytes, String> {
    let (uri, headers) = (&parts.uri, &parts.headers);
    let mut json = Vec::with_capacity(512);
    json.extend_from_slice(b"{\"method\":");
    text(&mut json, parts.method.as_str());
    json.extend_from_slice(b",\"path\":[");
    for (index, segment) in uri.path().split('/').filter(|segment| !segment.is_empty()).enumerate() {
        if index > 0 {
            json.push(b',');
        }
        text(&mut json, segment);
    }
    json.extend_from_slice(b"],\"query_params\":");
    match uri.query() {
        Some(query) => {
            let params = Params::of_urlencoded(query.as_bytes(), UTF_8)?;
            json.extend_from_slice(params.into_value().to_string().as_bytes());
        }
        None => json.extend_from_slice(b"{}"),
    }
    json.extend_from_slice(b",\"headers\":{");
    for (index, name) in headers.keys().enumerate() {
        if index > 0 {
            json.push(b',');
        }
        text(&mut json, name.as_str());
        json.push(b':');
        header(&mut json, name, headers, secrets);
    }
    json.extend_from_slice(b"}}");
    Ok(Bytes::from(json))
}

fn header(json: &mut Vec<u8>, name: &HeaderName, headers: &HeaderMap, secrets: &[String]) {
    if matches!(name.as_str(), "cookie" | "proxy-authorization") {
        return text(json, REDACTED);
    }
    let Some(value) = headers.get_all(name).iter().next_back() else { return text(json, "") };
    match (value.to_str(), secrets) {
        (Ok(value), []) => text(json, value),
        _ => {
            let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
            let hidden = secrets.iter().fold(value, |value, secret| value.replace(secret.as_str(), REDACTED));
            text(json, &hidden);
        }
    }
}

fn text(json: &mut Vec<u8>, value: &str) {
    // Nearly all text here needs no escapes.
    if value.bytes().all(|byte| byte >= b' ' && byte != b'"' && byte != b'\\') {
        json.push(b'"');
        json.extend_from_slice(value.as_bytes());
        json.push(b'"');
    } else {
        json.extend_from_slice(Value::from(value).to_string().as_bytes());
    }
}
