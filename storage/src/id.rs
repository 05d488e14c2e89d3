//! Ids: UUIDs that sort by time and locate their event, without an index.
//!
//! A UUID of version 7 (RFC 9562): bytes 0-5 are the milliseconds of the block. The 74 free bits hold, from the top,
//! zero (10), what (8), shard (8), offset (48), sent through a four-round Feistel network over two halves of 37
//! bits, whose round function is SipHash-2-4 under the data dir's key with the milliseconds as tweak.
//! Decoding checks the zeros; the reader then checks that the event is there and of that millisecond. A guessed id
//! is right once in about 2^60.

use siphasher::sip::SipHasher24;
use uuid::Uuid;

use crate::{
    limits::RUNS_PER_WORK_ORDER_MAX,
    place::{Offset, Place, RunId, ShardId, Timestamp},
};

const HALF_BITS: u32 = 37;
const HALF_MASK: u128 = (1 << HALF_BITS) - 1;
const OFFSET_BITS: u32 = 48;
const ROUNDS: u8 = 4;

/// What an id names.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum What {
    /// A work order, by its `Received`.
    WorkOrder,
    /// The run with this number, by its work order's `Received`.
    Run(u8),
    /// A step, by its `StepStarted`.
    Step,
    /// Log lines, by their `LogWritten`.
    LogLine,
    /// A dead letter, by its `DeadLettered`.
    DeadLetter,
}

impl What {
    fn number(self) -> u8 {
        match self {
            Self::WorkOrder => 0,
            Self::Run(n) => n,
            Self::LogLine => 253,
            Self::Step => 254,
            Self::DeadLetter => 255,
        }
    }

    fn from_number(number: u8) -> Option<Self> {
        match number {
            0 => Some(Self::WorkOrder),
            1..=RUNS_PER_WORK_ORDER_MAX => Some(Self::Run(number)),
            253 => Some(Self::LogLine),
            254 => Some(Self::Step),
            255 => Some(Self::DeadLetter),
            _ => None,
        }
    }
}

/// A decoded id. Whoever reads the event must compare its block's millisecond with `millis`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Decoded {
    /// What it names.
    pub what: What,
    /// The event that made it.
    pub place: Place,
    /// The milliseconds that the event's block must have.
    pub millis: u64,
}

/// Makes and reads the ids of one data dir.
#[derive(Clone, Copy)]
pub struct Ids {
    hasher: SipHasher24,
}

impl Ids {
    /// Ids under this key.
    pub fn new(key: [u8; 16]) -> Self {
        Self { hasher: SipHasher24::new_with_key(&key) }
    }

    /// The id of the event at `place`, whose block is of `at`.
    pub fn encode(&self, what: What, place: Place, at: Timestamp) -> Uuid {
        assert!(place.offset.0 < 1 << OFFSET_BITS);
        let millis = at.millis() & ((1 << 48) - 1);
        let plain = u128::from(what.number()) << (OFFSET_BITS + 8)
            | u128::from(place.shard.0) << OFFSET_BITS
            | u128::from(place.offset.0);
        let (mut left, mut right) = (plain >> HALF_BITS, plain & HALF_MASK);
        for round in 0..ROUNDS {
            (left, right) = (right, left ^ self.mix(round, right, millis));
        }
        join(millis, left << HALF_BITS | right)
    }

    /// The id of a work order.
    pub fn work_order(&self, place: Place, at: Timestamp) -> Uuid {
        self.encode(What::WorkOrder, place, at)
    }

    /// The id of a run, whose work order's block is of `at`.
    pub fn run(&self, run: RunId, at: Timestamp) -> Uuid {
        self.encode(What::Run(run.n), run.work_order, at)
    }

    /// What an id names, unless it cannot have been made here.
    pub fn decode(&self, id: Uuid) -> Option<Decoded> {
        if id.get_version_num() != 7 || id.get_variant() != uuid::Variant::RFC4122 {
            return None;
        }
        let (millis, sealed) = split(id);
        let (mut left, mut right) = (sealed >> HALF_BITS, sealed & HALF_MASK);
        for round in (0..ROUNDS).rev() {
            (left, right) = (right ^ self.mix(round, left, millis), left);
        }
        let plain = left << HALF_BITS | right;
        if plain >> (OFFSET_BITS + 16) != 0 {
            return None;
        }
        let what = What::from_number((plain >> (OFFSET_BITS + 8)) as u8)?;
        let shard = ShardId((plain >> OFFSET_BITS) as u8);
        let offset = Offset((plain & ((1 << OFFSET_BITS) - 1)) as u64);
        Some(Decoded { what, place: Place { shard, offset }, millis })
    }

    fn mix(&self, round: u8, half: u128, millis: u64) -> u128 {
        let mut bytes = [round; 17];
        bytes[1..9].copy_from_slice(&(half as u64).to_le_bytes());
        bytes[9..].copy_from_slice(&millis.to_le_bytes());
        u128::from(self.hasher.hash(&bytes)) & HALF_MASK
    }
}

/// Puts 48 bits of time and 74 free bits around version and variant.
fn join(millis: u64, free: u128) -> Uuid {
    let high = free >> 62;
    let low = free & ((1 << 62) - 1);
    Uuid::from_u128(u128::from(millis) << 80 | 7 << 76 | high << 64 | 0b10 << 62 | low)
}

fn split(id: Uuid) -> (u64, u128) {
    let bits = id.as_u128();
    ((bits >> 80) as u64, (bits >> 64 & 0xfff) << 62 | bits & ((1 << 62) - 1))
}
