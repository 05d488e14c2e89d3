//! JSON that came in: checked without building a tree of it.

use std::fmt;

use keyway_storage::limits::JSON_DEPTH_MAX;
use memchr::memchr2_iter;
use serde_json::value::RawValue;
use simdutf8::basic::from_utf8;

/// Why text is not taken as JSON.
#[derive(Debug)]
pub enum JsonError {
    /// Its brackets are nested too deep.
    TooDeep,
    /// It is not JSON.
    Invalid(serde_json::Error),
}

impl fmt::Display for JsonError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooDeep => write!(formatter, "nested deeper than {JSON_DEPTH_MAX} levels"),
            Self::Invalid(error) => write!(formatter, "not JSON: {error}"),
        }
    }
}

/// Checks that text is JSON (RFC 8259) of at most `JSON_DEPTH_MAX` levels.
pub fn check(text: &[u8]) -> Result<(), JsonError> {
    if is_deep(text) {
        return Err(JsonError::TooDeep);
    }
    let checked = match from_utf8(text) {
        Ok(text) => serde_json::from_str::<&RawValue>(text),
        // It says where.
        Err(_) => serde_json::from_slice(text),
    };
    checked.map(drop).map_err(JsonError::Invalid)
}

fn is_deep(text: &[u8]) -> bool {
    // Nearly all text has fewer brackets than levels are allowed, which is known without looking at each byte.
    memchr2_iter(b'{', b'[', text).nth(JSON_DEPTH_MAX).is_some() && depth(text) > JSON_DEPTH_MAX
}

/// The deepest nesting of brackets outside of strings.
fn depth(text: &[u8]) -> usize {
    let (mut depth, mut deepest, mut quoted, mut escaped) = (0usize, 0, false, false);
    for byte in text {
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
