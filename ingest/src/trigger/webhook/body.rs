//! A request's body, made into the JSON that is stored.
//!
//! Invariant: JSON is stored as it was received, byte for byte; it was checked to be JSON and not too deep.

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use keyway_storage::limits::JSON_DEPTH_MAX;
use serde_json::{Value, value::RawValue};

use super::{request::nested, settings::Accept};

/// Why a body is refused.
#[derive(Debug, PartialEq, Eq)]
pub enum BodyError {
    /// 400: it is not what its type says.
    Invalid(String),
    /// 415: its type is not taken here.
    Unsupported,
}

/// The JSON of a body of this content type.
pub fn to_json(content_type: Option<&str>, accept: Accept, body: Bytes) -> Result<Bytes, BodyError> {
    if body.is_empty() {
        return Ok(Bytes::from_static(b"{}"));
    }
    let essence = content_type.unwrap_or("application/json").split(';').next().unwrap_or_default();
    let essence = essence.trim().to_ascii_lowercase();
    let xml = essence == "application/xml" || essence == "text/xml" || essence.ends_with("+xml");
    if essence == "application/json" || essence.ends_with("+json") {
        if accept.json { check_json(&body).map(|()| body) } else { Err(BodyError::Unsupported) }
    } else if essence == "application/x-www-form-urlencoded" && accept.form {
        let text = utf8(&body)?;
        Ok(Bytes::from(Value::Object(nested(text)).to_string()))
    } else if xml && accept.xml || essence.starts_with("text/") && accept.text {
        Ok(Bytes::from(Value::from(utf8(&body)?).to_string()))
    } else if accept.any {
        Ok(Bytes::from(format!("\"{}\"", STANDARD.encode(&body))))
    } else {
        Err(BodyError::Unsupported)
    }
}

fn utf8(body: &[u8]) -> Result<&str, BodyError> {
    std::str::from_utf8(body).map_err(|error| BodyError::Invalid(format!("The body is not UTF-8: {error}.")))
}

/// Checks that a body is JSON, without building a tree of it.
fn check_json(body: &[u8]) -> Result<(), BodyError> {
    if depth(body) > JSON_DEPTH_MAX {
        return Err(BodyError::Invalid(format!("The body is nested deeper than {JSON_DEPTH_MAX} levels.")));
    }
    match serde_json::from_slice::<&RawValue>(body) {
        Ok(_) => Ok(()),
        Err(error) => Err(BodyError::Invalid(format!("The body is not JSON: {error}."))),
    }
}

/// The deepest nesting of brackets outside of strings.
fn depth(body: &[u8]) -> usize {
    let (mut depth, mut deepest, mut quoted, mut escaped) = (0usize, 0, false, false);
    for byte in body {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b'{' | b'[' if !quoted => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b'}' | b']' if !quoted => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}
