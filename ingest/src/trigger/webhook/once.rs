//! The idempotency key of a request: what makes it the same request when it comes again.
//!
//! Invariant: a key is told from another by 128 bits of its hash, whatever its sender put into it. The two headers have
//! keys of their own.

use hyper::{
    HeaderMap,
    header::{HeaderName, HeaderValue},
};
use keyway_storage::{event::Position, limits::IDEMPOTENCY_KEY_BYTES_MAX};
use xxhash_rust::xxh3::{Xxh3, xxh3_64};

/// The IETF's draft, and the header of Standard Webhooks; the first one that is there counts.
const HEADERS: [HeaderName; 2] =
    [HeaderName::from_static("idempotency-key"), HeaderName::from_static("webhook-id")];

/// The position of a request with these headers, or what is wrong with its key. `body` is what tells a repeat from a key
/// that is used again.
pub fn position(headers: &HeaderMap, window_seconds: u32, body: &[u8]) -> Result<Position, String> {
    if window_seconds == 0 {
        return Ok(Position::None);
    }
    for name in &HEADERS {
        let mut values = headers.get_all(name).iter();
        let Some(value) = values.next() else { continue };
        let told = |reason: &str| format!("The header {name} {reason}.");
        if values.next().is_some() {
            return Err(told("is there more than once"));
        }
        let key = key_of(value).map_err(told)?;
        let mut hash = Xxh3::new();
        hash.update(name.as_str().as_bytes());
        hash.update(&key);
        return Ok(Position::Once { key: hash.digest128(), body: xxh3_64(body), window_seconds });
    }
    Ok(Position::None)
}

/// The key in a header: a string in quotes (RFC 9651), whose parameters mean nothing here, or what stands there as it is.
fn key_of(value: &HeaderValue) -> Result<Vec<u8>, &'static str> {
    let text = value.as_bytes().trim_ascii();
    let key = match text.strip_prefix(b"\"") {
        Some(quoted) => unquoted(quoted)?,
        None if text.iter().all(u8::is_ascii_graphic) => text.to_vec(),
        None => return Err("has characters other than visible ASCII"),
    };
    if key.is_empty() {
        return Err("is empty");
    }
    if key.len() > IDEMPOTENCY_KEY_BYTES_MAX {
        return Err("is longer than 255 characters");
    }
    Ok(key)
}

fn unquoted(quoted: &[u8]) -> Result<Vec<u8>, &'static str> {
    let mut key = Vec::with_capacity(quoted.len());
    let mut rest = quoted.iter();
    loop {
        match rest.next() {
            Some(b'"') => break,
            Some(b'\\') => match rest.next() {
                Some(escaped @ (b'"' | b'\\')) => key.push(*escaped),
                _ => return Err("has a backslash that escapes nothing"),
            },
            Some(byte @ b' '..=b'~') => key.push(*byte),
            Some(_) => return Err("has characters other than visible ASCII and spaces"),
            None => return Err("has no closing quote"),
        }
    }
    let behind = rest.as_slice().trim_ascii_start();
    if behind.is_empty() || behind.starts_with(b";") { Ok(key) } else { Err("has text behind its quote") }
}
