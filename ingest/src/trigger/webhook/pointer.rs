//! JSON pointers into bodies (RFC 6901).
//!
//! Invariant: no tree is built of a body: it would take twenty times the body's memory. What the pointer does not name
//! is skipped, and may hold numbers and texts that no tree could.

use std::fmt;

use serde::{
    Deserializer,
    de::{DeserializeSeed, IgnoredAny, MapAccess, SeqAccess, Visitor},
};
use serde_json::value::RawValue;

/// What a pointer names in a JSON text; of a key that is there twice the last one counts, as for a job.
pub fn find<'b>(body: &'b [u8], pointer: &str) -> Option<&'b RawValue> {
    let mut place: &RawValue = serde_json::from_slice(body).ok()?;
    for token in pointer.split('/').skip(1) {
        let token = token.replace("~1", "/").replace("~0", "~");
        let mut reader = serde_json::Deserializer::from_str(place.get());
        place = Step(&token).deserialize(&mut reader).ok()??;
    }
    Some(place)
}

/// One step into a value: a key, or the number of an item.
struct Step<'t>(&'t str);

impl<'de> DeserializeSeed<'de> for Step<'_> {
    type Value = Option<&'de RawValue>;

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<Self::Value, D::Error> {
        reader.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Step<'_> {
    type Value = Option<&'de RawValue>;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("an object or an array")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Self::Value, A::Error> {
        let mut found = None;
        while let Some(key) = members.next_key::<String>()? {
            if key == self.0 {
                found = Some(members.next_value()?);
            } else {
                members.next_value::<IgnoredAny>()?;
            }
        }
        Ok(found)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
        let is_plain = self.0 == "0" || !self.0.starts_with(['0', '+']);
        let mut left = self.0.parse::<usize>().ok().filter(|_| is_plain);
        let mut found = None;
        loop {
            if left == Some(0) {
                found = items.next_element()?;
            } else if items.next_element::<IgnoredAny>()?.is_none() {
                return Ok(found);
            }
            left = left.and_then(|left| left.checked_sub(1));
        }
    }
}
