//! A JSON object in the making.
//!
//! Invariant: JSON that came from outside goes out as it came in: no number is rounded, no key is reordered.

use base64::{Engine, engine::general_purpose::STANDARD};
use keyway_storage::event::wiped_at;
use serde::{Serialize, Serializer};
use serde_json::{
    Value, json,
    value::{RawValue, to_raw_value},
};

use crate::time::rfc3339;

/// Names with their values, in the order in which they were added.
#[derive(Debug, Default, Clone)]
pub struct Document(Vec<(String, Box<RawValue>)>);

impl Document {
    /// `{"type", "id", "attributes"}`.
    pub fn item(kind: &str, id: impl ToString, attributes: &Document) -> Self {
        Self::default().with("type", kind).with("id", id.to_string()).with("attributes", attributes)
    }

    /// `{"data": ...}`.
    pub fn data(data: impl Serialize) -> Self {
        Self::default().with("data", data)
    }

    /// Adds a value.
    pub fn with(mut self, name: &str, value: impl Serialize) -> Self {
        let value = to_raw_value(&value).expect("what we write has text keys and finite numbers");
        self.0.push((name.to_owned(), value));
        self
    }

    /// Adds JSON text as it is: null when it is empty, `{"base64": ...}` when it is not JSON. When it was wiped it is null
    /// too, and `wiped_at` says so.
    pub fn with_text(self, name: &str, text: &[u8]) -> Self {
        if text.is_empty() {
            return self.with(name, Value::Null);
        }
        if wiped_at(text).is_some() {
            return self.with(name, Value::Null).with_wiped(text);
        }
        match serde_json::from_slice::<&RawValue>(text) {
            Ok(text) => self.with(name, text),
            Err(_) => self.with(name, json!({ "base64": STANDARD.encode(text) })),
        }
    }

    /// Says when content was wiped, if it was and nothing says so yet.
    pub fn with_wiped(self, content: &[u8]) -> Self {
        const NAME: &str = "wiped_at";
        match wiped_at(content).filter(|_| self.0.iter().all(|(name, _)| name != NAME)) {
            Some(at) => self.with(NAME, rfc3339(at)),
            None => self,
        }
    }

    /// How many bytes the values have.
    pub fn bytes(&self) -> usize {
        self.0.iter().map(|(_, value)| value.get().len()).sum()
    }
}

impl From<Value> for Document {
    fn from(value: Value) -> Self {
        let Value::Object(fields) = value else { return Self::default() };
        fields.into_iter().fold(Self::default(), |document, (name, value)| document.with(&name, value))
    }
}

impl Serialize for Document {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, value)| (name, value)))
    }
}
