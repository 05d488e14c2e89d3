//! An item: one thing that the API answered, `{"type", "id", "attributes"}`.
//!
//! Invariant: its flat form has the id first, then the attributes in the order of the server.

use serde::Deserialize;
use serde_json::{Map, Value};

/// One thing.
#[derive(Debug, Deserialize)]
pub struct Item {
    /// What identifies it.
    pub id: String,
    /// What it is like.
    pub attributes: Map<String, Value>,
}

impl Item {
    /// An item from the `data` of an answer.
    pub fn of(data: Value) -> Option<Self> {
        serde_json::from_value(data).ok()
    }

    /// An attribute; null if there is none.
    pub fn attribute(&self, name: &str) -> &Value {
        self.attributes.get(name).unwrap_or(&Value::Null)
    }

    /// An attribute that should be text.
    pub fn text(&self, name: &str) -> &str {
        self.attribute(name).as_str().unwrap_or_default()
    }

    /// Id and attributes in one object.
    pub fn flat(&self) -> Value {
        let mut flat = Map::new();
        flat.insert("id".to_owned(), Value::from(self.id.as_str()));
        flat.extend(self.attributes.iter().map(|(name, value)| (name.clone(), value.clone())));
        Value::Object(flat)
    }
}
