//! Forms and queries: names with values, nested as in Plug.
//!
//! `a[b]=1` is `{"a": {"b": "1"}}`, `c[]=1&c[]=2` is `{"c": ["1", "2"]}`. Of a name that comes twice the last one counts,
//! and of names that contradict each other too. `d[][e]=1&d[][f]=2` is one element with both; it is two when the second
//! one has what the first one has already, so that nothing is lost.
//!
//! Invariant: depth and number of names are bounded, and so is what they can cost.

use std::borrow::Cow;

use encoding_rs::Encoding;
use keyway_storage::limits::{FORM_NAMES_MAX, JSON_DEPTH_MAX};
use serde_json::{Map, Value};

/// Parameters of a request.
#[derive(Debug, Default)]
pub struct Params {
    params: Map<String, Value>,
    names: usize,
}

impl Params {
    /// The parameters of `a=1&b=2`, or what is wrong with them.
    pub fn of_urlencoded(encoded: &[u8], charset: &'static Encoding) -> Result<Self, String> {
        let mut params = Self::default();
        for pair in encoded.split(|byte| *byte == b'&').filter(|pair| !pair.is_empty()) {
            let equals = pair.iter().position(|byte| *byte == b'=');
            let (name, value) = equals.map_or((pair, &[][..]), |at| (&pair[..at], &pair[at + 1..]));
            let value = decode(value, charset)?;
            params.put(&decode(name, charset)?, Value::String(value))?;
        }
        Ok(params)
    }

    /// Puts a value where its name says, or says why it cannot be there.
    pub fn put(&mut self, name: &str, value: Value) -> Result<(), String> {
        let (first, inner) = split(name);
        let mut parts = inner.into_iter().flat_map(|inner| inner.split("]["));
        let depth = 1 + parts.clone().count();
        if depth > JSON_DEPTH_MAX {
            return Err(format!("A name is nested deeper than {JSON_DEPTH_MAX} levels."));
        }
        self.names += depth;
        if self.names > FORM_NAMES_MAX {
            return Err(format!("There are more than {FORM_NAMES_MAX} names."));
        }
        let mut place = self.params.entry(first).or_insert(Value::Null);
        while let Some(part) = parts.next() {
            place = if part.is_empty() { element(place, parts.clone()) } else { member(place, part) };
        }
        *place = value;
        Ok(())
    }

    /// All of them, as a JSON object.
    pub fn into_value(self) -> Value {
        Value::Object(self.params)
    }
}

/// What stands before the first bracket, and what stands between it and the last one.
fn split(name: &str) -> (&str, Option<&str>) {
    let inner = name.strip_suffix(']').and_then(|name| name.split_once('['));
    match inner {
        Some((first, inner)) if !first.is_empty() => (first, Some(inner)),
        _ => (name, None),
    }
}

fn member<'v>(place: &'v mut Value, part: &str) -> &'v mut Value {
    if !place.is_object() {
        *place = Value::Object(Map::new());
    }
    let members = place.as_object_mut().expect("it was just made an object");
    members.entry(part).or_insert(Value::Null)
}

fn element<'v, 'n>(place: &'v mut Value, rest: impl Iterator<Item = &'n str>) -> &'v mut Value {
    if !place.is_array() {
        *place = Value::Array(Vec::new());
    }
    let items = place.as_array_mut().expect("it was just made an array");
    if items.last().is_none_or(|last| is_taken(last, rest)) {
        items.push(Value::Null);
    }
    items.last_mut().expect("there is at least the one that was pushed")
}

/// Whether the rest of a name leads to a value that would be lost.
fn is_taken<'n>(mut place: &Value, rest: impl Iterator<Item = &'n str>) -> bool {
    for part in rest {
        match place {
            Value::Object(members) if !part.is_empty() => match members.get(part) {
                Some(inner) => place = inner,
                None => return false,
            },
            Value::Array(_) if part.is_empty() => return false,
            _ => return true,
        }
    }
    true
}

/// The text of a name or a value.
pub fn decode(encoded: &[u8], charset: &'static Encoding) -> Result<String, String> {
    let bytes = percent_decode(encoded)?;
    let text = charset.decode_without_bom_handling_and_without_replacement(&bytes);
    Ok(text.ok_or_else(|| format!("A name or a value is not {}.", charset.name()))?.into_owned())
}

fn percent_decode(encoded: &[u8]) -> Result<Cow<'_, [u8]>, String> {
    if !encoded.iter().any(|byte| matches!(byte, b'%' | b'+')) {
        return Ok(Cow::Borrowed(encoded));
    }
    let digit = |byte: Option<&u8>| byte.and_then(|byte| char::from(*byte).to_digit(16));
    let mut bytes = Vec::with_capacity(encoded.len());
    let mut rest = encoded.iter();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => match (digit(rest.next()), digit(rest.next())) {
                (Some(high), Some(low)) => (high * 16 + low) as u8,
                _ => return Err("A percent sign is not followed by two hexadecimal digits.".to_owned()),
            },
            other => *other,
        });
    }
    Ok(Cow::Owned(bytes))
}
