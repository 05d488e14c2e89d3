//! `state.request`: the JSON that tells a job how its input came.
//!
//! `{"method", "path", "query_params", "headers"}` as in OpenFn: path segments with the leading `i`, nested query
//! parameters, lower-case header names of which the last value counts.

use bytes::Bytes;
use encoding_rs::UTF_8;
use hyper::{
    Version,
    header::{HOST, HeaderName, HeaderValue, TRANSFER_ENCODING},
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
    // The values of one name come one after the other, and the last one counts.
    let mut all = headers.iter().peekable();
    let mut is_first = true;
    while let Some((name, value)) = all.next() {
        if all.peek().is_some_and(|(next, _)| *next == name) {
            continue;
        }
        if !std::mem::take(&mut is_first) {
            json.push(b',');
        }
        text(&mut json, name.as_str());
        json.push(b':');
        header(&mut json, name, value, secrets);
    }
    json.extend_from_slice(b"}}");
    Ok(Bytes::from(json))
}

fn header(json: &mut Vec<u8>, name: &HeaderName, value: &HeaderValue, secrets: &[String]) {
    if matches!(name.as_str(), "cookie" | "proxy-authorization") {
        return text(json, REDACTED);
    }
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
    // Nearly all text here needs no escapes. Looking at all of it, many bytes at once, is faster than stopping at one.
    let is_plain = |byte: u8| byte >= b' ' && byte != b'"' && byte != b'\\';
    if value.bytes().fold(true, |plain, byte| plain & is_plain(byte)) {
        json.push(b'"');
        json.extend_from_slice(value.as_bytes());
        json.push(b'"');
    } else {
        json.extend_from_slice(Value::from(value).to_string().as_bytes());
    }
}
