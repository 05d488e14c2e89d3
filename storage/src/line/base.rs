//! A row of a base as a line of JSON: what stands for the part of a log that was cut.
//!
//! ```text
//! {"base": "state", "shard": 0, "key": "0f00", "value": "BASE64", "check": "0123456789abcdef"}
//! ```
//! `check` is xxh3-64 of shard (u8), name, number of bytes of the key (u8), key, value.

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::Xxh3;

use crate::{
    key::{Key, Tag},
    place::{Offset, ShardId},
};

/// The rows that have a base.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BaseOf {
    /// What deciding reads.
    State,
    /// What people read.
    Views,
}

impl BaseOf {
    /// All of them, in the order of an export.
    pub const ALL: [Self; 2] = [Self::State, Self::Views];

    /// The name in a line.
    pub fn name(self) -> &'static str {
        match self {
            Self::State => "state",
            Self::Views => "views",
        }
    }

    /// The tag of their watermark, which is in the first line and no row here.
    pub fn watermark(self) -> Tag {
        match self {
            Self::State => Tag::Watermark,
            Self::Views => Tag::ViewsWatermark,
        }
    }
}

/// What the log of a shard has and what stands for the rest; all zero when nothing was cut.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cut {
    /// The offset from which on every event is there.
    pub dense: Offset,
    /// The first event that the base of `state` does not reflect.
    pub state: Offset,
    /// The first event that the base of `views` does not reflect.
    pub views: Offset,
}

/// A row of a base.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BaseRow {
    /// Whose it is.
    pub shard: ShardId,
    /// Which rows it is of.
    pub of: BaseOf,
    /// Its key.
    pub key: Key,
    /// Its value, as it is read.
    pub value: Bytes,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    base: BaseOf,
    shard: u8,
    key: String,
    value: String,
    check: String,
}

impl BaseRow {
    /// The line, without its end.
    pub fn to_line(&self) -> String {
        let line = Line {
            base: self.of,
            shard: self.shard.0,
            key: format!("{:?}", self.key),
            value: STANDARD.encode(&self.value),
            check: self.check(),
        };
        serde_json::to_string(&line).expect("what we write has text keys and finite numbers")
    }

    /// The row of a line, or what is wrong with it; `None` is a line of another kind.
    pub fn read(line: &str) -> Option<Result<Self, String>> {
        let read: Result<Line, _> = serde_json::from_str(line);
        match read {
            Ok(line) => Some(Self::from_line(line)),
            Err(error) => line.starts_with("{\"base\"").then(|| Err(error.to_string())),
        }
    }

    fn from_line(line: Line) -> Result<Self, String> {
        let key = key_of(&line.key).ok_or_else(|| format!("`{}` is no key of a row", line.key))?;
        let value = STANDARD.decode(&line.value).map_err(|error| format!("base64: {error}"))?;
        let row = Self { shard: ShardId(line.shard), of: line.base, key, value: value.into() };
        match row.check() == line.check {
            true => Ok(row),
            false => Err("its check does not match: it was changed".to_owned()),
        }
    }

    fn check(&self) -> String {
        let mut hash = Xxh3::new();
        hash.update(&[self.shard.0]);
        hash.update(self.of.name().as_bytes());
        hash.update(&[self.key.len() as u8]);
        hash.update(&self.key);
        hash.update(&self.value);
        format!("{:016x}", hash.digest())
    }
}

/// The key of its text: two hexadecimal digits for each byte, the small ones.
pub fn key_of(text: &str) -> Option<Key> {
    let is_key = text.is_ascii() && text.len().is_multiple_of(2) && text.len() <= 2 * Key::BYTES_MAX;
    let pairs = text.as_bytes().chunks(2).filter(|_| is_key);
    let bytes: Option<Vec<u8>> =
        pairs.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()).collect();
    let key = bytes.filter(|bytes| !bytes.is_empty()).map(|bytes| Key::from_slice(&bytes))?;
    (format!("{key:?}") == text).then_some(key)
}
