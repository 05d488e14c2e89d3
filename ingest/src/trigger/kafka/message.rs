//! A message, as the input or the dead letter that it becomes.
//!
//! Invariant: nothing of a message is lost that fits into `KAFKA_INPUT_BYTES_MAX`; of a larger one the reason says what is
//! kept. What is no UTF-8 stands as `{"base64": "..."}` where text would stand; null stays null. A value that is not what the
//! trigger takes is kept, byte for byte, with the reason.

use std::io::{self, Write};

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::{BufMut, Bytes};
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
/// Bytes of a header beside its name and value: brackets and commas.
const HEADER_BYTES: usize = 4;
/// The most bytes that one byte of a text becomes: `\u0001`.
const BYTE_BYTES_MAX: usize = 6;
/// The most bytes of a text beside that: what says that it is base64, rounded up.
const TEXT_BYTES_MAX: usize = 18;

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

/// Counts what is written to it.
#[derive(Default)]
struct Count(usize);

impl Write for Count {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Raw<'_> {
    /// What the message becomes under a trigger that takes such payloads, written into `page`.
    pub fn read(&self, payload: Payload, page: &mut Page) -> Read {
        let (request, too_large) = self.metadata(page);
        let body = match too_large {
            Some(detail) => Err((Reason::TooLarge, detail)),
            None => self.body(payload, page),
        };
        let beside = request.len();
        (request, body.map_err(|(reason, detail)| self.unusable(reason, detail, beside)))
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
                Ok(text) => {
                    let most = BYTE_BYTES_MAX * value.len() + 2;
                    let bytes = if most > PAYLOAD_BYTES_MAX { text_bytes(Some(value)) } else { most };
                    quoted(bytes, || Value::from(text).to_string())
                }
                Err(error) => Err((Reason::InvalidText, format!("The value is not UTF-8: {error}."))),
            },
            (Payload::Base64, Some(value)) => {
                let bytes = value.len().div_ceil(3) * 4 + 2;
                quoted(bytes, || format!("\"{}\"", STANDARD.encode(value)))
            }
        }
    }

    /// Keeps the value, as much as there is room for beside the metadata.
    fn unusable(&self, reason: Reason, mut detail: String, beside: usize) -> Unusable {
        let room = KAFKA_INPUT_BYTES_MAX.saturating_sub(beside);
        if let Some(value) = self.payload.filter(|value| value.len() > room) {
            let most = KAFKA_INPUT_BYTES_MAX;
            detail.push_str(&format!(
                " The message is over {most} bytes: the first {room} of the value's {} are kept.",
                value.len()
            ));
        }
        let raw = self.payload.map(|value| Bytes::copy_from_slice(&value[..value.len().min(room)]));
        Unusable { raw, reason, detail: detail.into() }
    }

    /// The metadata, and what is wrong if it is too much for a work order.
    fn metadata(&self, page: &mut Page) -> (Bytes, Option<String>) {
        let texts = self.headers.iter().flat_map(|(name, value)| [Some(*name), *value]).chain([self.key]);
        let (count, bytes) =
            texts.flatten().fold((0, 0), |(count, bytes), text| (count + 1, bytes + text.len()));
        let most = self.bytes(BYTE_BYTES_MAX * bytes + TEXT_BYTES_MAX * (count + self.headers.len()));
        // Nearly all metadata fits whatever its bytes become: no second look at each.
        if most <= PAYLOAD_BYTES_MAX {
            let room = self.bytes(bytes + 2 * count);
            return (self.request(self.key, self.headers, room, page), None);
        }
        self.large_metadata(page)
    }

    /// Metadata that may be too large: all of it if that fits beside the value, else the key, and headers from the first on.
    fn large_metadata(&self, page: &mut Page) -> (Bytes, Option<String>) {
        let value = self.payload.map_or(0, <[u8]>::len);
        // What is too large for a work order has at least as much room as the largest that is not.
        let room = PAYLOAD_BYTES_MAX.max(KAFKA_INPUT_BYTES_MAX.saturating_sub(value));
        let sizes = self.headers.iter().map(|(name, value)| text_bytes(Some(name)) + text_bytes(*value));
        let sizes: Vec<usize> = sizes.collect();
        let all = self.headers.len();
        let whole = self.bytes(text_bytes(self.key) + sizes.iter().sum::<usize>());
        if whole <= PAYLOAD_BYTES_MAX {
            return (self.request(self.key, self.headers, whole, page), None);
        }
        let mut detail = format!("Its key and headers are over {PAYLOAD_BYTES_MAX} bytes.");
        let fixed = REQUEST_BYTES + self.topic.len();
        let key = self.key.filter(|key| fixed + text_bytes(Some(key)) <= room);
        if key.is_none() && self.key.is_some() {
            detail.push_str(" Its key is left out.");
        }
        let mut used = fixed + text_bytes(key);
        let fits = |size: &&usize| {
            used += **size + HEADER_BYTES;
            used <= room
        };
        let kept = sizes.iter().take_while(fits).count();
        if kept < all {
            detail.push_str(&format!(" The first {kept} of its {all} headers are kept."));
        }
        (self.request(key, &self.headers[..kept], room.min(whole), page), Some(detail))
    }

    /// Bytes of metadata whose texts have so many.
    fn bytes(&self, texts: usize) -> usize {
        REQUEST_BYTES + self.topic.len() + HEADER_BYTES * self.headers.len() + texts
    }

    fn request(&self, key: Option<&[u8]>, headers: &[Header<'_>], bytes: usize, page: &mut Page) -> Bytes {
        let mut out = page.room(bytes).writer();
        let written = self.write(key, headers, &mut out);
        written.expect("memory takes it");
        page.cut()
    }

    fn write(&self, key: Option<&[u8]>, headers: &[Header<'_>], out: &mut impl Write) -> io::Result<()> {
        out.write_all(b"{\"headers\":[")?;
        for (index, (name, value)) in headers.iter().enumerate() {
            out.write_all(if index == 0 { b"[" } else { b",[" })?;
            write_text(out, Some(name))?;
            out.write_all(b",")?;
            write_text(out, *value)?;
            out.write_all(b"]")?;
        }
        out.write_all(b"],\"key\":")?;
        write_text(out, key)?;
        out.write_all(b",\"offset\":")?;
        // In pieces: formatting them took an eighth of a consumer's time.
        serde_json::to_writer(&mut *out, &self.offset)?;
        out.write_all(b",\"partition\":")?;
        serde_json::to_writer(&mut *out, &self.partition)?;
        out.write_all(b",\"topic\":\"")?;
        out.write_all(self.topic.as_bytes())?;
        out.write_all(b"\",\"ts\":")?;
        serde_json::to_writer(&mut *out, &self.timestamp)?;
        out.write_all(b"}")
    }
}

/// A value that becomes JSON text of so many bytes.
fn quoted(bytes: usize, text: impl FnOnce() -> String) -> Result<Bytes, (Reason, String)> {
    if bytes > PAYLOAD_BYTES_MAX {
        return Err((Reason::TooLarge, format!("As JSON text the value is over {PAYLOAD_BYTES_MAX} bytes.")));
    }
    Ok(Bytes::from(text()))
}

/// Writes text as JSON text, and what is none as base64.
fn write_text(out: &mut impl Write, bytes: Option<&[u8]>) -> io::Result<()> {
    match bytes.map(|bytes| std::str::from_utf8(bytes).map_err(|_| bytes)) {
        None => out.write_all(b"null"),
        Some(Ok(text)) => Ok(serde_json::to_writer(out, text)?),
        Some(Err(bytes)) => write!(out, "{{\"base64\":\"{}\"}}", STANDARD.encode(bytes)),
    }
}

/// How many bytes `write_text` writes.
fn text_bytes(bytes: Option<&[u8]>) -> usize {
    let mut count = Count::default();
    write_text(&mut count, bytes).expect("nothing is refused");
    count.0
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

#[cfg(test)]
mod tests {
    use super::{Header, KAFKA_INPUT_BYTES_MAX, PAYLOAD_BYTES_MAX, Page, Payload, Raw, Read, Reason};
    use serde_json::{Value, json};

    const MIB: usize = 1 << 20;

    fn read(payload: Payload, key: &[u8], headers: &[Header<'_>], value: &[u8]) -> Read {
        let (key, value) = (Some(key), Some(value));
        let raw = Raw { topic: "t", partition: 1, offset: 2, timestamp: None, key, payload: value, headers };
        raw.read(payload, &mut Page::default())
    }

    /// The metadata, the value that is kept, and why.
    fn letter(key: &[u8], headers: &[Header<'_>], value: &[u8]) -> (Value, usize, String) {
        let (request, body) = read(Payload::Json, key, headers, value);
        let unusable = body.unwrap_err();
        assert_eq!(unusable.reason, Reason::TooLarge, "{}", unusable.detail);
        let raw = unusable.raw.unwrap();
        assert!(request.len() + raw.len() <= KAFKA_INPUT_BYTES_MAX);
        assert_eq!(raw, value[..raw.len()]);
        (serde_json::from_slice(&request).unwrap(), raw.len(), unusable.detail.into())
    }

    #[test]
    fn metadata_as_large_as_may_be_comes_in_whole_beside_the_largest_value() {
        // Each byte becomes six, and what is no UTF-8 four of three.
        let (control, raw) = (vec![1; 700_000], vec![0xff; 3_000_000]);
        let headers: [Header<'_>; 2] = [(b"control", Some(&control)), (&raw, None)];
        let value = format!("{{\"a\":\"{}\"}}", "x".repeat(PAYLOAD_BYTES_MAX - 8));
        let (request, body) = read(Payload::Json, b"key", &headers, value.as_bytes());
        assert_eq!(body.unwrap(), value);
        let request: Value = serde_json::from_slice(&request).unwrap();
        assert_eq!(request["headers"][0][1], "\u{1}".repeat(700_000));
        assert_eq!(request["headers"][1][0]["base64"].as_str().unwrap().len(), 4_000_000);
        assert_eq!((&request["key"], &request["offset"]), (&json!("key"), &json!(2)));
    }

    #[test]
    fn a_message_whose_metadata_is_too_large_for_a_work_order_is_kept_whole_as_a_dead_letter() {
        let large = vec![b'h'; PAYLOAD_BYTES_MAX];
        let (request, kept, detail) =
            letter(b"key", &[(b"a", Some(&large)), (b"b", None)], &vec![b'v'; 10 * MIB]);
        assert_eq!(request["headers"][0][1].as_str().unwrap().len(), PAYLOAD_BYTES_MAX);
        assert_eq!((&request["headers"][1], &request["key"]), (&json!(["b", null]), &json!("key")));
        assert_eq!(kept, 10 * MIB);
        assert_eq!(detail, "Its key and headers are over 10000000 bytes.");
    }

    #[test]
    fn of_a_message_over_all_bounds_its_key_its_first_headers_and_the_beginning_of_its_value_are_kept() {
        let (part, value) = (vec![1; MIB], vec![b'v'; 20 * MIB]);
        // Six MiB each: the second is over the ten million bytes that are left beside such a value.
        let headers: [Header<'_>; 3] = [(b"a", Some(&part)), (b"b", Some(&part)), (b"c", None)];
        let (request, kept, detail) = letter(b"key", &headers, &value);
        assert_eq!(request["headers"].as_array().unwrap().len(), 1);
        assert_eq!(request["key"], "key");
        assert!(kept > 17 * MIB, "{kept}");
        let said = format!(
            "Its key and headers are over 10000000 bytes. The first 1 of its 3 headers are kept. The message is over \
             25165824 bytes: the first {kept} of the value's 20971520 are kept."
        );
        assert_eq!(detail, said);
        // The same beside a small value, which is kept whole.
        let (request, kept, detail) = letter(b"key", &[headers[0]; 5], b"{}");
        assert_eq!((request["headers"].as_array().unwrap().len(), kept), (3, 2));
        assert_eq!(
            detail,
            "Its key and headers are over 10000000 bytes. The first 3 of its 5 headers are kept."
        );
        // A key that is larger than all that is kept of metadata.
        let (request, kept, detail) = letter(&vec![1; 5 * MIB], &[(b"a", None)], b"{}");
        assert_eq!((&request["key"], &request["headers"], kept), (&Value::Null, &json!([["a", null]]), 2));
        assert_eq!(detail, "Its key and headers are over 10000000 bytes. Its key is left out.");
    }

    #[test]
    fn a_value_that_is_too_large_as_text_is_a_dead_letter_with_its_own_bytes() {
        for (payload, value) in [
            (Payload::Text, vec![1; PAYLOAD_BYTES_MAX / 6 + 1]),
            (Payload::Base64, vec![0xff; PAYLOAD_BYTES_MAX / 4 * 3]),
        ] {
            let unusable = read(payload, b"", &[], &value).1.unwrap_err();
            assert_eq!(unusable.reason, Reason::TooLarge);
            assert_eq!(&*unusable.detail, "As JSON text the value is over 10000000 bytes.");
            assert_eq!(unusable.raw.unwrap(), value);
            let fits = &value[..value.len() - 4];
            let body = read(payload, b"", &[], fits).1.unwrap();
            assert!((PAYLOAD_BYTES_MAX - 30..=PAYLOAD_BYTES_MAX).contains(&body.len()), "{}", body.len());
        }
    }
}
