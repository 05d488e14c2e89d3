//! `state.request`: the JSON that tells a job how its input came.
//!
//! `{"method", "path", "query_params", "headers"}` as in OpenFn: path segments with the leading `i`, nested query
//! parameters, lower-case header names of which the last value counts.

use bytes::Bytes;
use hyper::{HeaderMap, Method, header::HeaderName};
use serde_json::{Map, Value};

const REDACTED: &str = "[REDACTED]";

/// The JSON of a request.
pub fn describe(
    method: &Method,
    path: &str,
    query: Option<&str>,
    headers: &HeaderMap,
    secrets: &[String],
) -> Bytes {
    let mut json = Vec::with_capacity(512);
    json.extend_from_slice(b"{\"method\":");
    text(&mut json, method.as_str());
    json.extend_from_slice(b",\"path\":[");
    for (index, segment) in path.split('/').filter(|segment| !segment.is_empty()).enumerate() {
        if index > 0 {
            json.push(b',');
        }
        text(&mut json, segment);
    }
    json.extend_from_slice(b"],\"query_params\":");
    match query {
        Some(query) => json.extend_from_slice(Value::Object(nested(query)).to_string().as_bytes()),
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
    Bytes::from(json)
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

/// URL-encoded parameters, nested as in Plug: `a[b]=1` is `{"a": {"b": "1"}}`, `c[]=1&c[]=2` is `{"c": ["1", "2"]}`.
pub fn nested(encoded: &str) -> Map<String, Value> {
    let mut params = Map::new();
    for (name, value) in form_urlencoded::parse(encoded.as_bytes()) {
        insert(&mut params, &name, value.into_owned());
    }
    params
}

fn insert(params: &mut Map<String, Value>, name: &str, value: String) {
    let parts = match name.split_once('[') {
        Some((first, rest)) if rest.ends_with(']') && !first.is_empty() => {
            let inner = rest[..rest.len() - 1].split("][").map(str::to_owned);
            std::iter::once(first.to_owned()).chain(inner).collect()
        }
        _ => vec![name.to_owned()],
    };
    put(params, &parts, value);
}

fn put(params: &mut Map<String, Value>, parts: &[String], value: String) {
    match parts {
        [] => {}
        [last] => {
            params.insert(last.clone(), Value::String(value));
        }
        [list, empty] if empty.is_empty() => {
            let entry = params.entry(list.clone()).or_insert_with(|| Value::Array(Vec::new()));
            match entry {
                Value::Array(items) => items.push(Value::String(value)),
                other => *other = Value::Array(vec![Value::String(value)]),
            }
        }
        [first, rest @ ..] => {
            let entry = params.entry(first.clone()).or_insert_with(|| Value::Object(Map::new()));
            if !entry.is_object() {
                *entry = Value::Object(Map::new());
            }
            if let Value::Object(inner) = entry {
                put(inner, rest, value);
            }
        }
    }
}
