//! Rows of wipes: how far each has come.

use rkyv::{Archive, Deserialize, Serialize};

use crate::{
    error::Damage,
    event::{Content, KeptCursor},
    key::{Key, Tag},
    place::{Offset, Timestamp},
};

/// Key: content (u8), what bounds it (u64, as in `Wiped`). How far it was wiped, and how much went.
#[derive(Archive, Serialize, Deserialize, Clone, PartialEq, Debug, Default)]
pub struct WipeRow {
    /// Hash of the rules under which it was looked at.
    pub rules: u64,
    /// The first offset that was not looked at.
    pub before: Offset,
    /// When that was.
    pub at: Timestamp,
    /// How many events lost content.
    pub events: u64,
    /// How many bytes they lost.
    pub bytes: u64,
    /// States before that offset that are kept as long as the next runs start with them.
    pub kept: Vec<KeptCursor>,
}

impl WipeRow {
    /// The key of what is kept within this bound.
    pub fn key(content: Content, bound: u64) -> Key {
        Key::new(Tag::Wipe).u8(content as u8).u64(bound)
    }

    /// What the key of such a row says.
    pub fn from_key(key: &Key) -> Result<(Content, u64), Damage> {
        let damaged = || Damage::new("row", "the key of a wipe is not one");
        let (content, bound) = key.get(1..).and_then(<[u8]>::split_first).ok_or_else(damaged)?;
        let content = Content::ALL.into_iter().find(|it| *it as u8 == *content).ok_or_else(damaged)?;
        Ok((content, u64::from_be_bytes(bound.try_into().map_err(|_| damaged())?)))
    }
}
