//! A message, as the input or the dead letter that it becomes.
//!
//! Invariant: nothing of a message is lost. What is no UTF-8 stands as `{"base64": "..."}` where text would stand; null
//! stays null. A value that is not what the trigger takes is kept, byte for byte, with the reason.

use std::fmt::Write as _;

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::{BufMut, Bytes, BytesMut};
use keyway_engine::command::Unusable;
use keyway_storage::{
    event::Reason,
    limits::{KAFKA_INPUT_BYTES_MAX, PAYLOAD_BYTES_MAX},
};
use serde_json::Value;
use xxhash_rust::xxh3::xxh3_64;

use super::{page::Page, settings::Payload};
use crate::json;

/// Bytes of a message's metadata beside its key, its topic and its headers.
const REQUEST_BYTES: usize = 128;
/// Bytes of a header beside its name and value.
const HEADER_BYTES: usize = 8;

/// A message as it was read.
#[derive(Debug, Clone, Copy)]
pub struct Raw<'a> {
    /// Its topic.
    pub topic: &'a str,
    /// Its partition.
    pub partition: i32,
    /// Its offset.
    pub offset: u64,
    /// Its time in milliseconds since 1970.
    pub timestamp: Option<i64>,
    /// Its key.
    pub key: Option<&'a [u8]>,
    /// Its value.
    pub payload: Option<&'a [u8]>,
    /// Its headers.
    pub headers: &'a [Header<'a>],
}

/// Name and value of a header.
pub type Header<'a> = (&'a [u8], Option<&'a [u8]>);

/// What a message becomes: its metadata, and its data or why there is none.
pub type Read = (Bytes, Result<Bytes, Unusable>);

impl Raw<'_> {
    /// What the message becomes under a trigger that takes such payloads, written into `page`.
    pub fn read(&self, payload: Payload, page: &mut Page) -> Read {
        let request = self.request(self.headers, page);
        if request.len() > PAYLOAD_BYTES_MAX {
            let detail =
                format!("Its key and headers are over {PAYLOAD_BYTES_MAX} bytes; headers are left out.");
            let request = self.request(&[], page);
            let beside = request.len();
            return (request, Err(self.unusable(Reason::TooLarge, detail, beside)));
        }
        let body =
            self.body(payload, page).map_err(|(reason, detail)| self.unusable(reason, detail, request.len()));
        (request, body)
    }

    fn body(&self, payload: Payload, page: &mut Page) -> Result<Bytes, (Reason, String)> {
        let value = self.payload;
        if value.is_some_and(|value| value.len() > PAYLOAD_BYTES_MAX) {
            return Err((Reason::TooLarge, format!("The value is over {PAYLOAD_BYTES_MAX} bytes.")));
        }
        match (payload, value) {
            (Payload::Json, None) => {
                Err((Reason::NotAnObject, "The value is null (a tombstone), not a JSON object.".to_owned()))
            }
            (_, None) => Ok(Bytes::from_static(b"null")),
            (Payload::Json, Some(value)) => {
                check_json(value)?;
                if value.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'{') {
                    Ok(page.copy(value))
                } else {
                    Err((Reason::NotAnObject, "The value is JSON, but not an object.".to_owned()))
                }
            }
            (Payload::AnyJson, Some(value)) => check_json(value).map(|()| page.copy(value)),
            (Payload::Text, Some(value)) => match std::str::from_utf8(value) {
                Ok(text) => Ok(Bytes::from(Value::from(text).to_string())),
                Err(error) => Err((Reason::InvalidText, format!("The value is not UTF-8: {error}."))),
            },
            (Payload::Base64, Some(value)) => Ok(Bytes::from(format!("\"{}\"", STANDARD.encode(value)))),
        }
    }

    /// Keeps the value, as much as one turn can append.
    fn unusable(&self, reason: Reason, mut detail: String, beside: usize) -> Unusable {
        let room = KAFKA_INPUT_BYTES_MAX.saturating_sub(beside);
        if self.payload.is_some_and(|value| value.len() > room) {
            detail.push_str(&format!(" Its first {room} bytes are kept."));
        }
        let raw = self.payload.map(|value| Bytes::copy_from_slice(&value[..value.len().min(room)]));
        Unusable { raw, reason, detail: detail.into() }
    }

    fn request(&self, headers: &[Header<'_>], page: &mut Page) -> Bytes {
        let of_headers = headers.iter().map(|(name, value)| name.len() + value.map_or(0, <[u8]>::len));
        let bytes = of_headers.map(|bytes| HEADER_BYTES + bytes).sum::<usize>()
            + self.key.map_or(0, <[u8]>::len)
            + self.topic.len();
        let out = page.room(REQUEST_BYTES + bytes);
        out.extend_from_slice(b"{\"headers\":[");
        for (index, (name, value)) in headers.iter().enumerate() {
            out.extend_from_slice(if index == 0 { b"[" } else { b",[" });
            push_text(out, Some(name));
            out.put_u8(b',');
            push_text(out, *value);
            out.put_u8(b']');
        }
        out.extend_from_slice(b"],\"key\":");
        push_text(out, self.key);
        let (offset, partition, topic) = (self.offset, self.partition, self.topic);
        let rest =
            write!(out, ",\"offset\":{offset},\"partition\":{partition},\"topic\":\"{topic}\",\"ts\":");
        let end = match self.timestamp {
            Some(time) => write!(out, "{time}}}"),
            None => write!(out, "null}}"),
        };
        rest.and(end).expect("memory takes it");
        page.cut()
    }
}

/// Writes text as JSON text, and what is none as base64.
fn push_text(out: &mut BytesMut, bytes: Option<&[u8]>) {
    match bytes.map(|bytes| std::str::from_utf8(bytes).map_err(|_| bytes)) {
        None => out.extend_from_slice(b"null"),
        Some(Ok(text)) => serde_json::to_writer(out.writer(), text).expect("memory takes it"),
        Some(Err(bytes)) => {
            out.extend_from_slice(b"{\"base64\":\"");
            out.extend_from_slice(STANDARD.encode(bytes).as_bytes());
            out.extend_from_slice(b"\"}");
        }
    }
}

/// The bytes of a key or header of a stored request.
pub fn stored_bytes(stored: &Value) -> Option<Vec<u8>> {
    match stored {
        Value::String(text) => Some(text.clone().into_bytes()),
        Value::Object(object) => STANDARD.decode(object.get("base64")?.as_str()?).ok(),
        _ => None,
    }
}

/// The hash of a key; 0 stands for no key.
pub fn hash(key: &[u8]) -> u64 {
    xxh3_64(key).max(1)
}

/// Checks that a value is JSON and not too deep, without building a tree of it.
fn check_json(value: &[u8]) -> Result<(), (Reason, String)> {
    json::check(value).map_err(|error| (Reason::InvalidJson, format!("The value is {error}.")))
}
