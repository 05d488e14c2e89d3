//! A block: the events of one turn, packed into one value of the log.
//!
//! Layout, all integers little-endian (`FORMAT.md` has the same table):
//!
//! ```text
//! 0   4  magic "KWB1" or "KWB2"  24  4  bytes of the archives
//! 4   1  shard                   28  4  zero
//! 5   3  zero                    32  8  xxh3-64 of the block with this field zero
//! 8   8  first offset            40  8 x count  table: kind u8, schema u8, zero u16, end u32
//! 16  8  time, microseconds      ..  archives, one after the other
//! ```
//! The count stands in bytes 28..32. An archive's bytes are `end` of the entry before it to its own `end`. In "KWB2" one lz4
//! block of the archives stands in their place.

mod codec;
mod packer;

use bytes::Bytes;
use xxhash_rust::xxh3::Xxh3;

use packer::Packer;

use crate::{
    error::Damage,
    event::{Event, EventKind, Kind},
    limits::{BLOCK_BYTES_MAX, BLOCK_EVENTS_MAX, BLOCK_KEPT_BYTES_MAX},
    place::{Offset, Place, ShardId, Span, Timestamp},
};

const MAGIC: [u8; 4] = *b"KWB1";
/// The archives are packed.
const MAGIC_PACKED: [u8; 4] = *b"KWB2";
const HEADER_BYTES: usize = 40;
const ENTRY_BYTES: usize = 8;
const CHECKSUM: std::ops::Range<usize> = 32..40;

/// A turn's events while they are packed. Their buffers are reused: a turn allocates the value of the log, once.
#[derive(Debug)]
pub struct Block {
    shard: ShardId,
    first: Offset,
    at: Timestamp,
    table: Vec<u8>,
    archives: Vec<u8>,
    packer: Packer,
}

impl Block {
    /// An empty block of this shard.
    pub fn new(shard: ShardId) -> Self {
        let (first, at) = (Offset(0), Timestamp(0));
        Self { shard, first, at, table: Vec::new(), archives: Vec::new(), packer: Packer::default() }
    }

    /// Empties the block for the turn at `at`, whose first event gets the offset `first`.
    pub fn begin(&mut self, first: Offset, at: Timestamp) {
        self.first = first;
        self.at = at;
        self.table.clear();
        self.archives.clear();
        self.archives.shrink_to(BLOCK_KEPT_BYTES_MAX);
        self.packer.shrink();
    }

    /// Adds an event and returns its offset.
    pub fn push(&mut self, kind: &EventKind) -> Offset {
        assert!(self.len() < BLOCK_EVENTS_MAX);
        let offset = self.next();
        codec::encode(kind, &mut self.archives);
        assert!(self.archives.len() <= BLOCK_BYTES_MAX);
        self.table.extend_from_slice(&[kind.kind() as u8, codec::SCHEMA, 0, 0]);
        self.table.extend_from_slice(&(self.archives.len() as u32).to_le_bytes());
        offset
    }

    /// How many events.
    pub fn len(&self) -> usize {
        self.table.len() / ENTRY_BYTES
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.table.is_empty()
    }

    /// Bytes of the archives so far.
    pub fn bytes(&self) -> usize {
        self.archives.len()
    }

    /// Bytes of the whole block so far, unpacked.
    pub fn whole_bytes(&self) -> usize {
        HEADER_BYTES + self.table.len() + self.archives.len()
    }

    /// The offsets of the events.
    pub fn span(&self) -> Span {
        Span { first: self.first, end: self.next() }
    }

    /// The time of the turn.
    pub fn at(&self) -> Timestamp {
        self.at
    }

    /// The offset that the next event will get.
    pub fn next(&self) -> Offset {
        self.first.advance(self.len())
    }

    /// The value for the log.
    pub fn pack(&mut self) -> Bytes {
        assert!(!self.is_empty());
        let count = self.len() as u32;
        let (magic, stored) = match self.packer.pack(&self.archives) {
            Some(packed) => (MAGIC_PACKED, packed),
            None => (MAGIC, self.archives.as_slice()),
        };
        let mut value = Vec::with_capacity(HEADER_BYTES + self.table.len() + stored.len());
        value.extend_from_slice(&magic);
        value.extend_from_slice(&[self.shard.0, 0, 0, 0]);
        value.extend_from_slice(&self.first.0.to_le_bytes());
        value.extend_from_slice(&self.at.0.to_le_bytes());
        value.extend_from_slice(&(self.archives.len() as u32).to_le_bytes());
        value.extend_from_slice(&count.to_le_bytes());
        value.extend_from_slice(&[0; 8]);
        value.extend_from_slice(&self.table);
        value.extend_from_slice(stored);
        let checksum = checksum_of(&value);
        value[CHECKSUM].copy_from_slice(&checksum.to_le_bytes());
        value.into()
    }
}

/// Whether a value of the log is one that versions before the fourth format do not know.
pub fn is_packed(value: &[u8]) -> bool {
    value.starts_with(&MAGIC_PACKED)
}

/// The archive of an event, as a block has it.
pub fn archive_of(kind: &EventKind) -> Vec<u8> {
    let mut archive = Vec::new();
    codec::encode(kind, &mut archive);
    archive
}

/// A block as it came from the log: checked, and shared by all events decoded from it.
#[derive(Clone, Debug)]
pub struct PackedBlock {
    shard: ShardId,
    first: Offset,
    at: Timestamp,
    count: usize,
    value: Bytes,
}

impl PackedBlock {
    /// Checks a value of the log, and unpacks it.
    pub fn parse(shard: ShardId, value: Bytes) -> Result<Self, Damage> {
        let is_packed = is_packed(&value);
        if value.len() < HEADER_BYTES || value[0..4] != MAGIC && !is_packed {
            return Err(Damage::new("block", "it does not begin like a block"));
        }
        let bytes = u32_at(&value, 24) as usize;
        let count = u32_at(&value, 28) as usize;
        let archives = HEADER_BYTES + count * ENTRY_BYTES;
        let has_length = match is_packed {
            true => value.len() > archives && bytes <= BLOCK_BYTES_MAX,
            false => value.len() == archives + bytes,
        };
        if count == 0 || count > BLOCK_EVENTS_MAX || !has_length {
            return Err(Damage::new("block", "its length is not what its header says"));
        }
        if checksum_of(&value) != u64_at(&value, CHECKSUM.start) {
            return Err(Damage::new("block", "its checksum does not match"));
        }
        if value[4] != shard.0 {
            return Err(Damage::new("block", "it belongs to another shard"));
        }
        let (first, at) = (Offset(u64_at(&value, 8)), Timestamp(u64_at(&value, 16)));
        let value = match is_packed {
            true => unpack(&value, archives, bytes)?,
            false => value,
        };
        Ok(Self { shard, first, at, count, value })
    }

    /// The offsets of its events.
    pub fn span(&self) -> Span {
        Span { first: self.first, end: self.first.advance(self.count) }
    }

    /// The time of its turn.
    pub fn at(&self) -> Timestamp {
        self.at
    }

    /// How many bytes it has, unpacked.
    pub fn bytes(&self) -> usize {
        self.value.len()
    }

    /// All of it, with its archives unpacked.
    pub fn whole(&self) -> Bytes {
        self.value.clone()
    }

    /// What kind an event is, without decoding it.
    pub fn kind(&self, offset: Offset) -> Result<Kind, Damage> {
        let entry = self.entry(offset);
        Kind::from_number(entry.kind)
            .ok_or_else(|| Damage::new("event", "its kind is unknown to this version"))
    }

    /// How many bytes an event has.
    pub fn event_bytes(&self, offset: Offset) -> usize {
        let entry = self.entry(offset);
        entry.end.saturating_sub(entry.start)
    }

    /// An event; its bodies are slices of the block.
    pub fn event(&self, offset: Offset) -> Result<Event, Damage> {
        let entry = self.entry(offset);
        let kind = self.kind(offset)?;
        if entry.start > entry.end || entry.end > self.value.len() {
            return Err(Damage::new("block", "its table points outside"));
        }
        let archive = self.value.slice(entry.start..entry.end);
        let kind = codec::decode(kind, entry.schema, &archive)?;
        Ok(Event { place: Place { shard: self.shard, offset }, at: self.at, kind })
    }

    /// All events from `from` on, or from the first one if that is later.
    pub fn events(&self, from: Offset) -> impl Iterator<Item = Result<Event, Damage>> + '_ {
        let span = self.span();
        (from.0.max(span.first.0)..span.end.0).map(|offset| self.event(Offset(offset)))
    }

    fn entry(&self, offset: Offset) -> Entry {
        assert!(offset >= self.first);
        assert!(offset < self.span().end);
        let index = offset.since(self.first);
        let at = HEADER_BYTES + index * ENTRY_BYTES;
        let archives = HEADER_BYTES + self.count * ENTRY_BYTES;
        let start = if index == 0 { 0 } else { u32_at(&self.value, at - 4) as usize };
        let end = u32_at(&self.value, at + 4) as usize;
        Entry {
            kind: self.value[at],
            schema: self.value[at + 1],
            start: archives + start,
            end: archives + end,
        }
    }
}

struct Entry {
    kind: u8,
    schema: u8,
    start: usize,
    end: usize,
}

/// The header and table of a packed block, and its archives behind them.
fn unpack(value: &[u8], archives: usize, bytes: usize) -> Result<Bytes, Damage> {
    let mut whole = Vec::with_capacity(archives + bytes);
    whole.extend_from_slice(&value[..archives]);
    whole.resize(archives + bytes, 0);
    match packer::unpack(&value[archives..], &mut whole[archives..]) {
        Some(()) => Ok(whole.into()),
        None => Err(Damage::new("block", "its archives cannot be unpacked")),
    }
}

fn checksum_of(packed: &[u8]) -> u64 {
    let mut hash = Xxh3::new();
    hash.update(&packed[..CHECKSUM.start]);
    hash.update(&[0; 8]);
    hash.update(&packed[CHECKSUM.end..]);
    hash.digest()
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}
