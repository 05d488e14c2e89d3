//! Rows of idempotency keys: what each stands for, and when it is forgotten.
//!
//! Invariant: a key that stands for something has one row for that and one row for the end of its window.

use rkyv::{Archive, Deserialize, Serialize};

use crate::{
    error::Damage,
    event::TriggerId,
    key::{Key, Tag},
    place::{Offset, Timestamp},
};

/// Key: trigger (16), hash of the idempotency key (16). An input that must not come twice.
#[derive(Archive, Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
pub struct OnceRow {
    /// The event that holds it.
    pub offset: Offset,
    /// When that was.
    pub at: Timestamp,
    /// Hash of its body.
    pub body: u64,
    /// Until when a repeat gets the first answer.
    pub until: Timestamp,
}

impl OnceRow {
    /// The key of an idempotency key of a trigger.
    pub fn key(trigger: TriggerId, key: u128) -> Key {
        Key::new(Tag::Once).bytes(&trigger.0).u128(key)
    }
}

/// An idempotency key and the time at which it is forgotten. Sorts by that time.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct OnceEnd {
    /// When its window ends.
    pub until: Timestamp,
    /// The trigger.
    pub trigger: TriggerId,
    /// Hash of the key.
    pub key: u128,
}

impl OnceEnd {
    /// The key of the row that stands for it; the row is empty.
    pub fn row_key(&self) -> Key {
        Key::new(Tag::OnceUntil).u64(self.until.0).bytes(&self.trigger.0).u128(self.key)
    }

    /// What the key of such a row says.
    pub fn from_row_key(key: &Key) -> Result<Self, Damage> {
        let damaged = || Damage::new("row", "the key of an idempotency key's end is cut short");
        let fields = key.get(1..).ok_or_else(damaged)?;
        let (until, fields) = fields.split_first_chunk().ok_or_else(damaged)?;
        let (trigger, fields) = fields.split_first_chunk().ok_or_else(damaged)?;
        let (hash, _) = fields.split_first_chunk().ok_or_else(damaged)?;
        Ok(Self {
            until: Timestamp(u64::from_be_bytes(*until)),
            trigger: TriggerId(*trigger),
            key: u128::from_be_bytes(*hash),
        })
    }
}
