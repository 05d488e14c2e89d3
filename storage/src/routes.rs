//! Routes: which shard owns what hashes alike, and which shards take what nobody owns.
//!
//! Invariant: a hash has one owner, and the owner has a log. A data dir that never changed its number of shards has as
//! many slots as shards, each its own owner; one that did has more, so that they can be spread over any number.

use std::sync::Arc;

use base64::{Engine, engine::general_purpose::STANDARD};
use xxhash_rust::xxh3::xxh3_64;

use crate::{
    limits::{ROUTE_SLOTS, SHARDS_MAX},
    place::ShardId,
};

const MAGIC: [u8; 4] = *b"KWR1";
const HEADER_BYTES: usize = 12;

/// Who owns what.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Routes {
    slots: Arc<[ShardId]>,
    logs: u16,
    taking: u16,
}

impl Routes {
    /// The routes of a data dir that never changed its number of shards.
    pub fn plain(shards: u16) -> Self {
        assert!(shards >= 1);
        assert!(shards <= SHARDS_MAX);
        Self { slots: (0..shards).map(|shard| ShardId(shard as u8)).collect(), logs: shards, taking: shards }
    }

    /// Whether the number of shards was never changed.
    pub fn is_plain(&self) -> bool {
        *self == Self::plain(self.logs)
    }

    /// How many shards have a log.
    pub fn logs(&self) -> u16 {
        self.logs
    }

    /// How many shards take new inputs: those from 0 on.
    pub fn taking(&self) -> u16 {
        self.taking
    }

    /// The slot of what hashes to this.
    pub fn slot(&self, hash: u64) -> usize {
        (hash % self.slots.len() as u64) as usize
    }

    /// The shard that owns what hashes to this.
    pub fn owner(&self, hash: u64) -> ShardId {
        self.slots[self.slot(hash)]
    }

    /// The shard that owns a slot.
    pub fn owner_of(&self, slot: usize) -> ShardId {
        self.slots[slot]
    }

    /// The shard that takes what comes in through a door and nobody owns.
    pub fn home(&self, door: u16) -> ShardId {
        ShardId((door % self.taking) as u8)
    }

    /// How many slots there are.
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// Never: there is a slot for each shard.
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// The same owners in so many slots that they can be spread.
    pub fn widened(&self) -> Self {
        let times = ROUTE_SLOTS.div_ceil(self.slots.len());
        // A multiple of the slots before: a hash keeps its owner.
        let slots = (0..self.slots.len() * times).map(|slot| self.slots[slot % self.slots.len()]).collect();
        Self { slots, ..self.clone() }
    }

    /// Routes to so many shards; a slot that something binds to a shard goes or stays there, and of the others as few as can
    /// be go elsewhere.
    pub fn spread(&self, taking: u16, bound: &[Option<ShardId>]) -> Self {
        assert_eq!(bound.len(), self.slots.len());
        let logs = self.logs.max(taking);
        let mut slots = self.slots.to_vec();
        let mut held = vec![0; usize::from(logs)];
        for (slot, bound) in slots.iter_mut().zip(bound) {
            *slot = bound.unwrap_or(*slot);
            held[usize::from(slot.0)] += 1;
        }
        let (each, more) = (slots.len() / usize::from(taking), slots.len() % usize::from(taking));
        let quota = |shard: usize| match shard < usize::from(taking) {
            true => each + usize::from(shard < more),
            false => 0,
        };
        for (slot, _) in slots.iter_mut().zip(bound).filter(|(_, bound)| bound.is_none()) {
            let from = usize::from(slot.0);
            if held[from] > quota(from) {
                let below = (0..usize::from(taking)).find(|shard| held[*shard] < quota(*shard));
                let to = below.expect("the shares add up to all slots: one above its share leaves one below");
                held[from] -= 1;
                held[to] += 1;
                *slot = ShardId(to as u8);
            }
        }
        Self { slots: slots.into(), logs, taking }
    }

    /// The bytes of the file `routes`.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        bytes.extend_from_slice(&self.logs.to_le_bytes());
        bytes.extend_from_slice(&self.taking.to_le_bytes());
        bytes.extend_from_slice(&(self.slots.len() as u32).to_le_bytes());
        bytes.extend(self.slots.iter().map(|owner| owner.0));
        let checksum = xxh3_64(&bytes);
        bytes.extend_from_slice(&checksum.to_le_bytes());
        bytes
    }

    /// Reads the bytes of the file `routes`, or says what is wrong with them.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, &'static str> {
        let (rest, checksum) = bytes.split_last_chunk::<8>().ok_or("it is cut short")?;
        if rest.len() < HEADER_BYTES || rest[..4] != MAGIC {
            return Err("it does not begin like routes");
        }
        if xxh3_64(rest).to_le_bytes() != *checksum {
            return Err("its checksum does not match");
        }
        let number = |at: usize| u16::from_le_bytes([rest[at], rest[at + 1]]);
        let (logs, taking) = (number(4), number(6));
        let count = u32::from_le_bytes(rest[8..12].try_into().expect("four bytes"));
        let slots: Arc<[ShardId]> = rest[HEADER_BYTES..].iter().map(|owner| ShardId(*owner)).collect();
        let fits = slots.iter().all(|owner| u16::from(owner.0) < logs);
        if count as usize != slots.len() || slots.is_empty() || !fits {
            return Err("its slots are not those of its shards");
        }
        if taking == 0 || taking > logs || logs > SHARDS_MAX {
            return Err("its number of shards cannot be");
        }
        Ok(Self { slots, logs, taking })
    }

    /// The same for a line of text.
    pub fn to_text(&self) -> String {
        STANDARD.encode(self.to_bytes())
    }

    /// Reads the text of routes.
    pub fn from_text(text: &str) -> Result<Self, &'static str> {
        Self::from_bytes(&STANDARD.decode(text).map_err(|_| "it is not base64")?)
    }
}

impl From<u16> for Routes {
    fn from(shards: u16) -> Self {
        Self::plain(shards)
    }
}
