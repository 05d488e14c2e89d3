//! The journals of a database, read before the store reads them.
//!
//! Invariant: checking changes nothing. The store cuts a journal off where it can no longer read it (as of fjall 3.1),
//! whether a crash left it so or the disk lost a bit; here the two are told apart while both can still be seen. It refuses
//! a turn of which a power cut left all but some sectors: that is cut off here.
//!
//! A journal is a row of batches, then zeros. A batch: tag 1, number of items u32, sequence number u64; items, each
//! with tag 2, type u8, compression u8, keyspace u64, bytes of key u16, of value u32, of value as stored u32, key,
//! value, or with tag 4 and a keyspace u64; tag 3, xxh3-64 of the items, `FJL` 3. Numbers are little-endian.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{self, BufRead, BufReader, Read, Seek, SeekFrom},
    path::{Path, PathBuf},
};

use rustix::{
    fs::{SeekFrom as SystemSeek, seek},
    io::Errno,
};
use xxhash_rust::xxh3::Xxh3;

use super::Fault;
use crate::{
    block::PackedBlock,
    error::OpenError,
    key::Tag,
    limits::BLOCK_BYTES_MAX,
    place::{Offset, ShardId},
};

const START: u8 = 1;
const ITEM: u8 = 2;
const END: u8 = 3;
const CLEAR: u8 = 4;
const MAGIC: [u8; 4] = [b'F', b'J', b'L', 3];
/// Bytes of a block's key: tag and offset.
const BLOCK_KEY_BYTES: usize = 9;
/// Type of an item that is written, not deleted.
const WRITTEN: u8 = 0;
/// Compression of a value that is stored as it is.
const PLAIN: u8 = 0;
/// Turns behind a hole that prove that the hole was durable once: the second is written after the first was synced.
const TURNS_PROVING_DAMAGE: usize = 2;

/// What a disk writes whole or not at all.
const SECTOR_BYTES: usize = 512;
/// What is read of a journal in one go.
const BUFFER_BYTES: usize = 64 << 10;
static ZEROS: [u8; BUFFER_BYTES] = [0; BUFFER_BYTES];

/// How strictly a journal is read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Strictness {
    /// Damage that is beyond doubt: what a power cut may leave is let through.
    Start,
    /// Everything that a process that was killed does not leave behind.
    Verify,
}

/// What a look at the journals of a database finds.
#[derive(Default)]
pub struct Found {
    /// What is wrong.
    pub faults: Vec<Fault>,
    /// The journal whose last turn lacks sectors, and where that turn begins.
    pub torn: Option<(PathBuf, u64)>,
}

/// Looks at the journals of a database.
pub fn check(database: &Path, strictness: Strictness) -> Result<Found, OpenError> {
    let journals = journals(database)?;
    let (mut found, mut sequences, mut turns) =
        (Found::default(), Sequences::default(), Turns::new(&journals));
    for (index, (_, path)) in journals.iter().enumerate() {
        let io = |source| OpenError::Io { path: path.clone(), source };
        let rest = Tape::open(path).and_then(|mut tape| tape.rest(&mut sequences, &mut turns)).map_err(io)?;
        let is_active = index + 1 == journals.len();
        if let Some(how) = rest.fault(is_active, strictness) {
            found.faults.push(Fault { path: path.clone(), how });
        } else if rest.lacks_sector {
            found.torn = Some((path.clone(), rest.at));
        }
    }
    Ok(found)
}

/// Cuts a torn turn off a journal: nobody was told of it.
pub fn cut(path: &Path, at: u64) -> io::Result<()> {
    let journal = File::options().write(true).open(path)?;
    journal.set_len(at)?;
    journal.sync_all()
}

/// The journals by their numbers; the last one is written to.
fn journals(database: &Path) -> Result<Vec<(u64, PathBuf)>, OpenError> {
    let io = |source| OpenError::Io { path: database.to_path_buf(), source };
    if !database.exists() {
        return Ok(Vec::new());
    }
    let mut found = Vec::new();
    for entry in fs::read_dir(database).map_err(io)? {
        let path = entry.map_err(io)?.path();
        let number = path.file_stem().and_then(|stem| stem.to_str()?.parse().ok());
        if let Some(number) = number.filter(|_| path.extension().is_some_and(|it| it == "jnl")) {
            found.push((number, path));
        }
    }
    found.sort();
    Ok(found)
}

/// What follows the last whole batch of a journal.
#[derive(Default, Debug)]
struct Rest {
    /// Where it begins.
    at: u64,
    /// Whether there is anything but zeros.
    any: bool,
    /// Whether the end of a batch is in it.
    ends: bool,
    /// Whole turns in it.
    turns: usize,
    /// Whether a turn is missing before one of them.
    lacks_turn: bool,
    /// Whether a sector of it was never written: a journal is made of zeros, and a lost bit leaves the others.
    lacks_sector: bool,
}

impl Rest {
    /// Takes in a block behind the hole, when the next turn begins at this offset, if that is known.
    ///
    /// Every turn is synced before the next is written, so a power cut tears nothing before the last one but rows, and
    /// blocks that were written anew. These begin before the next turn, and prove nothing.
    fn take(&mut self, block: &StoredBlock, next: &mut Option<Offset>) {
        let first = block.first();
        if next.is_some_and(|next| first < next) {
            return;
        }
        self.lacks_turn |= next.is_some_and(|next| first > next);
        self.turns += 1;
        *next = block.end();
    }

    fn fault(&self, is_active: bool, strictness: Strictness) -> Option<String> {
        let at = self.at;
        if self.any && !is_active {
            return Some(format!("bytes from {at} on are not what was written"));
        }
        if self.lacks_turn || self.turns >= TURNS_PROVING_DAMAGE {
            return Some(format!("bytes at {at} are not what was written, and later turns follow them"));
        }
        let torn = self.ends && strictness == Strictness::Verify;
        torn.then(|| {
            format!(
                "bytes at {at} are not what was written: the last turn is damaged, or a power cut tore it"
            )
        })
    }
}

/// The turns that were read: where the next one must begin.
struct Turns {
    /// The last block of the log.
    last: Option<StoredBlock>,
    /// Whether nothing came before the first journal that is there.
    has_first: bool,
}

impl Turns {
    fn new(journals: &[(u64, PathBuf)]) -> Self {
        Self { last: None, has_first: journals.first().is_some_and(|(number, _)| *number == 0) }
    }

    /// Takes in what a whole batch has, and gives room for the next one.
    fn take(&mut self, block: &mut StoredBlock) {
        match &mut self.last {
            Some(last) if block.first() < last.first() => {}
            Some(last) => std::mem::swap(last, block),
            None => self.last = Some(std::mem::take(block)),
        }
    }

    /// Where the next turn begins; `None` if no journal says it any more.
    fn next(&self) -> Option<Offset> {
        match &self.last {
            Some(last) => last.end(),
            None => self.has_first.then_some(Offset(0)),
        }
    }
}

/// A block of the log with its key, as a batch has it.
#[derive(Default)]
struct StoredBlock {
    bytes: Vec<u8>,
    value_bytes: usize,
    is_packed: bool,
}

impl StoredBlock {
    fn first(&self) -> Offset {
        let key = self.bytes[1..BLOCK_KEY_BYTES].try_into().expect("a key of nine bytes");
        Offset(u64::from_be_bytes(key))
    }

    /// The first offset behind it, if it is a block.
    fn end(&self) -> Option<Offset> {
        let stored = &self.bytes[BLOCK_KEY_BYTES..];
        let value = match self.is_packed {
            true => lz4_flex::decompress(stored, self.value_bytes).ok()?,
            false => stored.to_vec(),
        };
        let shard = ShardId(*value.get(4)?);
        PackedBlock::parse(shard, value.into()).ok().map(|block| block.span().end)
    }
}

/// The highest sequence number of what each keyspace holds.
///
/// The store goes on behind the highest that it finds when it is opened: one of which nothing is left, because its
/// keyspace was cleared, is given a second time (as of fjall 3.1).
#[derive(Default)]
struct Sequences(BTreeMap<u64, u64>);

impl Sequences {
    /// Takes in the next batch; false if its number cannot follow.
    fn take(&mut self, sequence: u64, touched: &[Touched]) -> bool {
        if self.0.values().any(|last| *last >= sequence) {
            return false;
        }
        for touched in touched {
            match touched {
                Touched::Written(keyspace) => drop(self.0.insert(*keyspace, sequence)),
                Touched::Cleared(keyspace) => drop(self.0.remove(keyspace)),
            }
        }
        true
    }
}

/// What a batch did to a keyspace.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Touched {
    Written(u64),
    Cleared(u64),
}

/// A journal as it is read.
struct Tape {
    reader: BufReader<File>,
    at: u64,
    scratch: Vec<u8>,
    /// What the batch that was read last touched.
    touched: Vec<Touched>,
    /// The block that it wrote, if it did.
    block: StoredBlock,
}

/// What comes next in a journal.
enum Step {
    Batch { sequence: u64, holds_block: bool },
    End,
    Broken,
}

impl Tape {
    fn open(path: &Path) -> io::Result<Self> {
        let reader = BufReader::with_capacity(BUFFER_BYTES, File::open(path)?);
        Ok(Self { reader, at: 0, scratch: Vec::new(), touched: Vec::new(), block: StoredBlock::default() })
    }

    /// Reads whole batches, then looks at what is behind them. The checksum of a batch leaves its sequence number out:
    /// that it rises from batch to batch is all there is to tell whether it is right.
    fn rest(&mut self, sequences: &mut Sequences, turns: &mut Turns) -> io::Result<Rest> {
        let mut begin = self.at;
        while let Step::Batch { sequence, holds_block } = self.step()?
            && sequences.take(sequence, &self.touched)
        {
            begin = self.at;
            if holds_block {
                turns.take(&mut self.block);
            }
        }
        let mut rest = Rest { at: begin, ..Rest::default() };
        let mut next = None;
        self.seek(begin)?;
        while self.seek_end_of_batch(&mut rest.any)? {
            if !rest.ends {
                next = turns.next();
            }
            rest.ends = true;
            let mut end = self.at;
            while let Step::Batch { holds_block, .. } = self.step()? {
                if holds_block {
                    rest.take(&self.block, &mut next);
                }
                end = self.at;
            }
            self.seek(end)?;
        }
        rest.lacks_sector = rest.any && self.lacks_sector(begin)?;
        Ok(rest)
    }

    /// Whether a whole sector of zeros comes before the last byte that is none.
    fn lacks_sector(&mut self, from: u64) -> io::Result<bool> {
        self.seek(from.next_multiple_of(SECTOR_BYTES as u64))?;
        let (mut sector, mut is_after_zeros) = ([0; SECTOR_BYTES], false);
        while self.reader.read_exact(&mut sector).is_ok() {
            let is_zero = sector == [0; SECTOR_BYTES];
            if is_after_zeros && !is_zero {
                return Ok(true);
            }
            is_after_zeros |= is_zero;
        }
        Ok(false)
    }

    /// Reads a batch. What cannot be one is broken; an error is only one of the system.
    fn step(&mut self) -> io::Result<Step> {
        match self.batch() {
            Ok(step) => Ok(step),
            Err(error) if matches!(error.kind(), io::ErrorKind::UnexpectedEof) => Ok(Step::Broken),
            Err(error) => Err(error),
        }
    }

    fn batch(&mut self) -> io::Result<Step> {
        let mut tag = [0];
        if self.reader.read(&mut tag)? == 0 {
            return Ok(Step::End);
        }
        self.at += 1;
        match tag[0] {
            0 => return Ok(Step::End),
            START => {}
            _ => return Ok(Step::Broken),
        }
        let start: [u8; 12] = self.array()?;
        let count = u32::from_le_bytes(start[..4].try_into().expect("four bytes"));
        let sequence = u64::from_le_bytes(start[4..].try_into().expect("eight bytes"));
        let (mut hash, mut holds_block) = (Xxh3::new(), false);
        self.touched.clear();
        for _ in 0..count {
            let [tag] = self.array()?;
            hash.update(&[tag]);
            match tag {
                CLEAR => {
                    let keyspace = self.array()?;
                    hash.update(&keyspace);
                    self.touched.push(Touched::Cleared(u64::from_le_bytes(keyspace)));
                }
                ITEM => match self.item(&mut hash)? {
                    Some(is_block) => holds_block |= is_block,
                    None => return Ok(Step::Broken),
                },
                _ => return Ok(Step::Broken),
            }
        }
        let end: [u8; 13] = self.array()?;
        let whole = end[0] == END && end[9..] == MAGIC && end[1..9] == hash.digest().to_le_bytes();
        Ok(if whole { Step::Batch { sequence, holds_block } } else { Step::Broken })
    }

    /// Reads an item behind its tag, and says whether it is a block; `None` is no item.
    fn item(&mut self, hash: &mut Xxh3) -> io::Result<Option<bool>> {
        let head: [u8; 20] = self.array()?;
        hash.update(&head);
        let keyspace = u64::from_le_bytes(head[2..10].try_into().expect("eight bytes"));
        if self.touched.last() != Some(&Touched::Written(keyspace)) {
            self.touched.push(Touched::Written(keyspace));
        }
        let key_bytes = usize::from(u16::from_le_bytes([head[10], head[11]]));
        let plain_bytes = u32::from_le_bytes(head[12..16].try_into().expect("four bytes")) as usize;
        let value_bytes = u32::from_le_bytes(head[16..20].try_into().expect("four bytes")) as usize;
        // A block, packed, with its header and table, is never twice as large as its events may be.
        if plain_bytes.max(value_bytes) > 2 * BLOCK_BYTES_MAX {
            return Ok(None);
        }
        let mut scratch = std::mem::take(&mut self.scratch);
        scratch.resize(key_bytes + value_bytes, 0);
        let read = self.reader.read_exact(&mut scratch);
        self.at += scratch.len() as u64;
        hash.update(&scratch);
        read?;
        let is_block = head[0] == WRITTEN && key_bytes == BLOCK_KEY_BYTES && scratch[0] == Tag::Block as u8;
        if is_block {
            std::mem::swap(&mut self.block.bytes, &mut scratch);
            self.block.value_bytes = plain_bytes;
            self.block.is_packed = head[1] != PLAIN;
        }
        self.scratch = scratch;
        Ok(Some(is_block))
    }

    fn array<const N: usize>(&mut self) -> io::Result<[u8; N]> {
        let mut bytes = [0; N];
        self.reader.read_exact(&mut bytes)?;
        self.at += N as u64;
        Ok(bytes)
    }

    /// Goes behind the next end of a batch, if there is one, and notes whether anything but zeros comes before it.
    fn seek_end_of_batch(&mut self, any: &mut bool) -> io::Result<bool> {
        let mut last = [0; 4];
        loop {
            let buffer = self.reader.fill_buf()?;
            let length = buffer.len();
            if length == 0 {
                return Ok(false);
            }
            if last == [0; 4] && *buffer == ZEROS[..length] {
                self.reader.consume(length);
                self.at += length as u64;
                self.seek_stored()?;
                continue;
            }
            let mut read = 0;
            while read < length && last != MAGIC {
                *any |= buffer[read] != 0;
                last = [last[1], last[2], last[3], buffer[read]];
                read += 1;
            }
            self.reader.consume(read);
            self.at += read as u64;
            if last == MAGIC {
                return Ok(true);
            }
        }
    }

    /// Goes to the next byte that the disk has: a journal is made as a hole of 64 MiB, which reads as zeros.
    fn seek_stored(&mut self) -> io::Result<()> {
        let stored = match seek(self.reader.get_ref(), SystemSeek::Data(self.at)) {
            Ok(stored) => stored,
            Err(Errno::NXIO) => self.reader.get_ref().metadata()?.len(),
            // A file system that does not know its holes: they are read.
            Err(_) => self.at,
        };
        self.seek(stored)
    }

    fn seek(&mut self, at: u64) -> io::Result<()> {
        self.at = self.reader.seek(SeekFrom::Start(at))?;
        Ok(())
    }
}
