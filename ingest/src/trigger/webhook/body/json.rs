//! JSON that came, and JSON that is made of something else.
//!
//! Invariant: what came is checked without building a tree of it; what is made is bounded while it is written.

use std::io;

use bytes::Bytes;
use keyway_storage::limits::{JSON_DEPTH_MAX, PAYLOAD_BYTES_MAX};
use serde::Serialize;
use serde_json::value::RawValue;

use super::BodyError;

/// Checks that a body is JSON, and not too deep.
pub fn check(body: &[u8]) -> Result<(), BodyError> {
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

/// The JSON of a value, if it is small enough to be stored.
pub fn write(value: &impl Serialize) -> Result<Bytes, BodyError> {
    let mut text = Bounded(Vec::new());
    // A value of ours always has JSON, so the bound is the only thing that can be in the way.
    serde_json::to_writer(&mut text, value).map_err(|_| BodyError::TooLarge)?;
    Ok(Bytes::from(text.0))
}

/// Text that takes no more than an input may have: escapes make six bytes of one.
struct Bounded(Vec<u8>);

impl io::Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.0.len() + bytes.len() > PAYLOAD_BYTES_MAX {
            return Err(io::Error::other("too large"));
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
