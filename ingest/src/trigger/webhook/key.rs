//! The ordering key of a request.
//!
//! Invariant: a stored input has the key that its request had. A text and a number that are written alike are one key.

use bytes::Bytes;
use hyper::HeaderMap;
use keyway_storage::event::Received;
use serde_json::Value;
use xxhash_rust::xxh3::xxh3_64;

use super::{pointer, settings::OrderingKey};

impl OrderingKey {
    /// The key of a request, if it has one.
    pub fn of_request(&self, headers: &HeaderMap, body: &[u8]) -> Option<Bytes> {
        match self {
            // The last one, as it is stored.
            Self::Header(name) => {
                let value = headers.get_all(name.as_str()).iter().next_back()?;
                Some(Bytes::from(String::from_utf8_lossy(value.as_bytes()).into_owned()))
            }
            Self::Pointer(pointer) => of_body(pointer, body),
        }
    }

    /// The key of a stored input, if it has one.
    pub fn of_input(&self, input: &Received) -> Option<Bytes> {
        self.of_stored(&input.request, &input.body)
    }

    /// The key of what is stored of an input, if it has one.
    pub fn of_stored(&self, request: &[u8], body: &[u8]) -> Option<Bytes> {
        match self {
            Self::Header(name) => {
                let request: Value = serde_json::from_slice(request).ok()?;
                Some(Bytes::from(request["headers"][name.as_str()].as_str()?.to_owned()))
            }
            Self::Pointer(pointer) => of_body(pointer, body),
        }
    }
}

fn of_body(pointer: &str, body: &[u8]) -> Option<Bytes> {
    let found = pointer::find(body, pointer)?;
    match serde_json::from_str(found.get()) {
        Ok(Value::Null) => None,
        Ok(Value::String(text)) => Some(Bytes::from(text)),
        Ok(other) => Some(Bytes::from(other.to_string())),
        // JSON that no tree can hold, such as half a surrogate, is the same key when it is written alike.
        Err(_) => Some(Bytes::copy_from_slice(found.get().as_bytes())),
    }
}

/// The hash of a key; 0 stands for no key in a lane's id.
pub fn hash(key: &[u8]) -> u64 {
    xxh3_64(key).max(1)
}
