//! JSON that is made of something else.
//!
//! Invariant: it is bounded while it is written.

use std::io;

use bytes::Bytes;
use keyway_storage::limits::PAYLOAD_BYTES_MAX;
use serde::Serialize;

use super::BodyError;

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
