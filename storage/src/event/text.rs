//! How the parts of an event are written as JSON, each so that it comes back as the same bytes.
//!
//! Bytes that are JSON on one line stand as they are; anything else stands as `{"base64": "..."}`, and nothing as
//! null. Hashes are text of hexadecimal digits, because few readers of JSON keep 64 bits of a number. Times are RFC
//! 3339 in UTC with microseconds.

use bytes::Bytes;
use jiff::{Timestamp as Calendar, fmt::strtime};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use serde_json::value::RawValue;

use super::{TriggerId, WorkflowId};
use crate::place::Timestamp;

const NEVER: &str = "never";

/// The form of bytes that stand for themselves nowhere else.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Encoded {
    base64: String,
}

impl Encoded {
    fn of(bytes: &[u8]) -> Self {
        Self { base64: base64::Engine::encode(&base64::engine::general_purpose::STANDARD, bytes) }
    }

    fn bytes<E: serde::de::Error>(self) -> Result<Vec<u8>, E> {
        let decoded = base64::Engine::decode(&base64::engine::general_purpose::STANDARD, self.base64);
        decoded.map_err(|error| E::custom(format!("base64: {error}")))
    }
}

/// Bytes that are JSON most of the time.
pub mod json {
    use super::{Bytes, Deserialize, Deserializer, Encoded, RawValue, Serialize, Serializer, is_plain};

    /// Writes the bytes.
    pub fn serialize<S: Serializer>(bytes: &Bytes, serializer: S) -> Result<S::Ok, S::Error> {
        if bytes.is_empty() {
            return serializer.serialize_none();
        }
        match serde_json::from_slice::<&RawValue>(bytes) {
            Ok(text) if is_plain(text.get(), bytes) => text.serialize(serializer),
            _ => Encoded::of(bytes).serialize(serializer),
        }
    }

    /// Reads the bytes.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Bytes, D::Error> {
        let text = Box::<RawValue>::deserialize(deserializer)?;
        match serde_json::from_str::<Encoded>(text.get()) {
            Ok(encoded) => Ok(encoded.bytes::<D::Error>()?.into()),
            Err(_) if text.get() == "null" => Ok(Bytes::new()),
            Err(_) => Ok(Bytes::copy_from_slice(text.get().as_bytes())),
        }
    }
}

/// Whether JSON text that was found in bytes may stand for all of them.
fn is_plain(text: &str, bytes: &[u8]) -> bool {
    let is_form = || serde_json::from_str::<Encoded>(text).is_ok();
    text.len() == bytes.len() && text != "null" && !text.contains(['\n', '\r']) && !is_form()
}

/// Bytes that are anything.
pub mod raw {
    use super::{Deserialize, Deserializer, Encoded, Serialize, Serializer};

    /// Writes the bytes.
    pub fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        Encoded::of(bytes).serialize(serializer)
    }

    /// Reads the bytes.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Box<[u8]>, D::Error> {
        Ok(Encoded::deserialize(deserializer)?.bytes::<D::Error>()?.into())
    }
}

/// Bytes that are anything, or absent.
pub mod maybe_raw {
    use super::{Deserialize, Deserializer, Encoded, Serialize, Serializer};

    /// Writes the bytes.
    pub fn serialize<S: Serializer>(bytes: &Option<Box<[u8]>>, serializer: S) -> Result<S::Ok, S::Error> {
        bytes.as_ref().map(|bytes| Encoded::of(bytes)).serialize(serializer)
    }

    /// Reads the bytes.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Box<[u8]>>, D::Error> {
        let encoded = Option::<Encoded>::deserialize(deserializer)?;
        Ok(encoded.map(|encoded| encoded.bytes::<D::Error>()).transpose()?.map(Vec::into))
    }
}

/// A UUID as its 16 bytes.
pub mod uuid {
    use super::{Deserialize, Deserializer, Serializer};
    use serde::de::Error;

    /// Writes the UUID.
    pub fn serialize<S: Serializer>(bytes: &[u8; 16], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&::uuid::Uuid::from_bytes(*bytes))
    }

    /// Reads the UUID.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<[u8; 16], D::Error> {
        let text = String::deserialize(deserializer)?;
        ::uuid::Uuid::try_parse(&text).map(::uuid::Uuid::into_bytes).map_err(D::Error::custom)
    }
}

macro_rules! hexadecimal {
    ($(#[doc = $doc:expr])* $name:ident, $number:ty, $form:expr) => {
        $(#[doc = $doc])*
        pub mod $name {
            use super::{Deserialize, Deserializer, Serializer};
            use serde::de::Error;

            /// Writes the digits.
            pub fn serialize<S: Serializer>(number: &$number, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(&format_args!($form, number))
            }

            /// Reads the digits.
            pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<$number, D::Error> {
                let text = String::deserialize(deserializer)?;
                <$number>::from_str_radix(&text, 16).map_err(D::Error::custom)
            }
        }
    };
}
hexadecimal!(
    /// A hash of 64 bits.
    hash,
    u64,
    "{:016x}"
);
hexadecimal!(
    /// A hash of 128 bits.
    long_hash,
    u128,
    "{:032x}"
);

/// A hash of 64 bits, or none.
pub mod maybe_hash {
    use super::{Deserialize, Deserializer, Serialize, Serializer};
    use serde::de::Error;

    /// Writes the digits.
    pub fn serialize<S: Serializer>(number: &Option<u64>, serializer: S) -> Result<S::Ok, S::Error> {
        number.map(|number| format!("{number:016x}")).serialize(serializer)
    }

    /// Reads the digits.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
        let text = Option::<String>::deserialize(deserializer)?;
        text.map(|text| u64::from_str_radix(&text, 16)).transpose().map_err(D::Error::custom)
    }
}

impl Serialize for TriggerId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        uuid::serialize(&self.0, serializer)
    }
}

impl<'de> Deserialize<'de> for TriggerId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        uuid::deserialize(deserializer).map(Self)
    }
}

impl Serialize for WorkflowId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        hash::serialize(&self.0, serializer)
    }
}

impl<'de> Deserialize<'de> for WorkflowId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        hash::deserialize(deserializer).map(Self)
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if *self == Self::NEVER {
            return serializer.serialize_str(NEVER);
        }
        let time = i64::try_from(self.0).ok().and_then(|micros| Calendar::from_microsecond(micros).ok());
        let text = time.and_then(|time| strtime::format("%Y-%m-%dT%H:%M:%S.%6fZ", time).ok());
        match text {
            Some(text) => serializer.serialize_str(&text),
            // Beyond the calendar: microseconds since 1970.
            None => serializer.serialize_u64(self.0),
        }
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Form {
            Text(String),
            Micros(u64),
        }
        match Form::deserialize(deserializer)? {
            Form::Micros(micros) => Ok(Self(micros)),
            Form::Text(text) if text == NEVER => Ok(Self::NEVER),
            Form::Text(text) => {
                let time: Calendar = text.parse().map_err(D::Error::custom)?;
                u64::try_from(time.as_microsecond()).map(Self).map_err(D::Error::custom)
            }
        }
    }
}
