//! Rows: what is derived from the log, with the watermark up to which it was derived.
//!
//! Invariant: rows and watermark are committed in one batch, so rows = fold(log[..watermark]) whenever they are read
//! from disk. Reads of the owner see what is buffered too; other readers see what is committed.
//!
//! A value on disk is: version (1), payload, xxh3-32 of version and payload (4).
//!
//! Rows may have a base: the same rows as they were before an offset below which the log does not have every event any
//! more. Whoever derives rows anew begins with a copy of it.

use std::{
    collections::BTreeMap,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, OnceLock},
};

use bytes::Bytes;
use fjall::{Database, Keyspace, KeyspaceCreateOptions, PersistMode, Readable, Snapshot};
use xxhash_rust::xxh3::xxh3_64;

use crate::{
    disk,
    error::{CommitError, Damage, ReadError},
    key::{Key, Tag},
    limits::{DISK_RESERVE_BYTES, MEMTABLE_BYTES},
    place::Offset,
};

const VERSION: u8 = 1;

/// The rows of one keyspace, for the shard that owns them.
pub struct Rows {
    store: Store,
    watermark_key: Key,
    watermark: Offset,
    buffer: BTreeMap<Key, Option<Bytes>>,
}

#[derive(Clone)]
enum Store {
    Disk(Database, Keyspace),
    Memory(Arc<MemoryRows>),
}

/// Rows without a disk, with their base.
#[derive(Default)]
struct MemoryRows {
    rows: Mutex<BTreeMap<Key, Bytes>>,
    base: OnceLock<Arc<MemoryRows>>,
}

impl MemoryRows {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<Key, Bytes>> {
        self.rows.lock().expect("no holder panics")
    }
}

/// A row as it is scanned.
pub type Row = Result<(Key, Bytes), ReadError>;

impl Rows {
    /// Rows in a keyspace, with their watermark under this tag.
    pub fn open(database: &Database, keyspace: &Keyspace, watermark: Tag) -> Result<Self, ReadError> {
        Self::from_store(Store::Disk(database.clone(), keyspace.clone()), watermark)
    }

    /// Rows without a disk.
    pub fn memory(watermark: Tag) -> Self {
        let store = Store::Memory(Arc::default());
        Self::from_store(store, watermark).expect("memory does not fail")
    }

    /// The rows that are committed, as the next process finds them.
    pub fn again(&self) -> Result<Self, ReadError> {
        Self::from_key(self.store.clone(), self.watermark_key)
    }

    fn from_store(store: Store, watermark: Tag) -> Result<Self, ReadError> {
        Self::from_key(store, Key::new(watermark))
    }

    fn from_key(store: Store, watermark_key: Key) -> Result<Self, ReadError> {
        let mut rows = Self { store, watermark_key, watermark: Offset(0), buffer: BTreeMap::new() };
        rows.watermark = rows.read_watermark()?;
        if rows.watermark == Offset(0) && rows.is_stale() {
            // A rebuild was interrupted before it had deleted everything.
            rows.clear().map_err(|error| ReadError::Io(error.to_string()))?;
        }
        Ok(rows)
    }

    fn is_stale(&self) -> bool {
        let everything = (Key::new(Tag::Block), Key::from_slice(&[u8::MAX]));
        let mut rows = self.store.scan(&everything.0, &everything.1);
        // A row that cannot be read is there, too.
        rows.any(|row| row.is_err() || row.is_ok_and(|(key, _)| key != self.watermark_key))
    }

    fn read_watermark(&self) -> Result<Offset, ReadError> {
        match self.store.get(&self.watermark_key)? {
            None => Ok(Offset(0)),
            Some(value) => {
                let bytes =
                    value[..].try_into().map_err(|_| Damage::new("watermark", "it is not eight bytes"))?;
                Ok(Offset(u64::from_le_bytes(bytes)))
            }
        }
    }

    /// The folder of their tables; none in memory.
    pub fn folder(&self) -> Option<&Path> {
        match &self.store {
            Store::Disk(_, keyspace) => Some(keyspace.path()),
            Store::Memory(_) => None,
        }
    }

    /// The first event that the committed rows do not reflect.
    pub fn watermark(&self) -> Offset {
        self.watermark
    }

    /// A row.
    pub fn get(&self, key: &Key) -> Result<Option<Bytes>, ReadError> {
        match self.buffer.get(key) {
            Some(buffered) => Ok(buffered.clone()),
            None => self.store.get(key),
        }
    }

    /// Writes a row.
    pub fn put(&mut self, key: Key, value: Bytes) {
        self.buffer.insert(key, Some(value));
    }

    /// Deletes a row.
    pub fn delete(&mut self, key: Key) {
        self.buffer.insert(key, None);
    }

    /// Up to `most` rows of `from..end`, ascending.
    pub fn scan(&self, from: Key, end: Key, most: usize) -> Result<Vec<(Key, Bytes)>, ReadError> {
        let mut found = Vec::new();
        let mut buffered = self.buffer.range(from..end).peekable();
        // What is buffered may stand for as many of those stored.
        let hidden = || self.buffer.range(from..end).count();
        let mut stored = self.store.scan_first(&from, &end, || most.saturating_add(hidden())).peekable();
        while found.len() < most {
            let next_stored = match stored.peek() {
                Some(Ok((key, _))) => Some(*key),
                Some(Err(_)) => return stored.next().expect("it was peeked").map(|_| found),
                None => None,
            };
            let next_buffered = buffered.peek().map(|(key, _)| **key);
            match (next_buffered, next_stored) {
                (None, None) => break,
                (Some(key), other) if other.is_none_or(|stored| key <= stored) => {
                    if other == Some(key) {
                        stored.next();
                    }
                    if let Some((_, Some(value))) = buffered.next() {
                        found.push((key, value.clone()));
                    }
                }
                _ => found.push(stored.next().expect("it was peeked")?),
            }
        }
        Ok(found)
    }

    /// Commits what is buffered together with the watermark. Not synced: the log brings back what a crash takes.
    pub fn commit(&mut self, watermark: Offset) -> Result<(), CommitError> {
        assert!(watermark >= self.watermark);
        if self.buffer.is_empty() && watermark == self.watermark {
            return Ok(());
        }
        let mark = Bytes::copy_from_slice(&watermark.0.to_le_bytes());
        self.buffer.insert(self.watermark_key, Some(mark));
        self.store.write(&self.buffer)?;
        self.buffer.clear();
        self.watermark = watermark;
        Ok(())
    }

    /// Forgets what is buffered.
    pub fn discard(&mut self) {
        self.buffer.clear();
    }

    /// Deletes all rows and the watermark, so that they are derived anew.
    pub fn clear(&mut self) -> Result<(), CommitError> {
        self.buffer.clear();
        // First and durable: whatever a crash then leaves of the rows is not taken for the fold of anything.
        let mark = Bytes::copy_from_slice(&0u64.to_le_bytes());
        self.store.write(&BTreeMap::from([(self.watermark_key, Some(mark))]))?;
        self.store.sync()?;
        self.store.clear()?;
        self.store.sync()?;
        self.watermark = Offset(0);
        Ok(())
    }

    /// The base of these rows, if they have one.
    pub fn base(&self) -> Result<Option<Self>, ReadError> {
        self.store.base()?.map(|store| Self::from_key(store, self.watermark_key)).transpose()
    }

    /// The base of these rows; an empty one if they have none.
    pub fn make_base(&self) -> Result<Self, ReadError> {
        Self::from_key(self.store.make_base()?, self.watermark_key)
    }

    /// Buffers rows of a base, those behind `last`, and returns the last of them; `None` when it has no more.
    pub fn copy(
        &mut self,
        base: &RowsReader,
        last: Option<Key>,
        most: usize,
    ) -> Result<Option<Key>, ReadError> {
        let from = last.unwrap_or(Key::new(Tag::Block));
        let mut copied = None;
        for row in base.scan(from, Key::from_slice(&[u8::MAX])).take(most + 1) {
            let (key, value) = row?;
            if Some(key) != last && key != self.watermark_key {
                self.buffer.insert(key, Some(value));
            }
            copied = Some(key);
        }
        Ok(copied.filter(|key| Some(*key) != last))
    }

    /// The first event that a base of these rows does not reflect.
    pub fn watermark_of(&self, base: &RowsReader) -> Result<Offset, ReadError> {
        Ok(Self::from_key(base.store.clone(), self.watermark_key)?.watermark)
    }

    /// A reader of what is committed.
    pub fn reader(&self) -> RowsReader {
        RowsReader { store: self.store.clone() }
    }
}

/// Reads committed rows, from any thread.
#[derive(Clone)]
pub struct RowsReader {
    store: Store,
}

impl RowsReader {
    /// A reader of the base, if there is one.
    pub fn base(&self) -> Result<Option<Self>, ReadError> {
        Ok(self.store.base()?.map(|store| Self { store }))
    }

    /// A row.
    pub fn get(&self, key: &Key) -> Result<Option<Bytes>, ReadError> {
        self.store.get(key)
    }

    /// The rows of `from..end`, ascending, as they are at the call.
    pub fn scan(&self, from: Key, end: Key) -> Box<dyn Iterator<Item = Row>> {
        self.store.scan(&from, &end)
    }

    /// The rows of `from..end`, descending, as they are at the call.
    pub fn scan_back(&self, from: Key, end: Key) -> Box<dyn Iterator<Item = Row>> {
        self.store.scan_back(&from, &end)
    }
}

impl Store {
    fn base(&self) -> Result<Option<Self>, ReadError> {
        match self {
            Self::Disk(database, keyspace) if !database.keyspace_exists(&base_name(keyspace)) => Ok(None),
            Self::Disk(..) => self.make_base().map(Some),
            Self::Memory(rows) => Ok(rows.base.get().cloned().map(Self::Memory)),
        }
    }

    fn make_base(&self) -> Result<Self, ReadError> {
        Ok(match self {
            Self::Disk(database, keyspace) => {
                let base = database.keyspace(&base_name(keyspace), rows_options)?;
                Self::Disk(database.clone(), base)
            }
            Self::Memory(rows) => Self::Memory(Arc::clone(rows.base.get_or_init(Arc::default))),
        })
    }

    fn get(&self, key: &Key) -> Result<Option<Bytes>, ReadError> {
        match self {
            Self::Disk(_, keyspace) => {
                Ok(keyspace.get(&**key)?.map(|value| open_value(value.into())).transpose()?)
            }
            Self::Memory(rows) => Ok(rows.lock().get(key).cloned()),
        }
    }

    fn scan(&self, from: &Key, end: &Key) -> Box<dyn Iterator<Item = Row>> {
        match self {
            Self::Disk(database, keyspace) => {
                let snapshot: Snapshot = database.snapshot();
                Box::new(snapshot.range(keyspace, from.to_vec()..end.to_vec()).map(open_row))
            }
            Self::Memory(rows) => Box::new(copied(rows, from, end, usize::MAX).into_iter().map(Ok)),
        }
    }

    /// The same of which no more than `most` are asked for: memory copies no more.
    fn scan_first(&self, from: &Key, end: &Key, most: impl Fn() -> usize) -> Box<dyn Iterator<Item = Row>> {
        match self {
            Self::Disk(..) => self.scan(from, end),
            Self::Memory(rows) => Box::new(copied(rows, from, end, most()).into_iter().map(Ok)),
        }
    }

    fn scan_back(&self, from: &Key, end: &Key) -> Box<dyn Iterator<Item = Row>> {
        match self {
            Self::Disk(database, keyspace) => {
                let snapshot: Snapshot = database.snapshot();
                Box::new(snapshot.range(keyspace, from.to_vec()..end.to_vec()).rev().map(open_row))
            }
            Self::Memory(rows) => Box::new(copied(rows, from, end, usize::MAX).into_iter().rev().map(Ok)),
        }
    }

    fn write(&self, buffer: &BTreeMap<Key, Option<Bytes>>) -> Result<(), CommitError> {
        let poisoned = |error: fjall::Error| CommitError::Poisoned(error.to_string());
        match self {
            Self::Disk(database, keyspace) => {
                if disk::free_bytes(keyspace.path()) < DISK_RESERVE_BYTES / 2 {
                    return Err(CommitError::Full);
                }
                let mut batch = database.batch().durability(Some(PersistMode::Buffer));
                for (key, value) in buffer {
                    match value {
                        Some(value) => batch.insert(keyspace, &**key, seal_value(value)),
                        None => batch.remove(keyspace, &**key),
                    }
                }
                batch.commit().map_err(poisoned)
            }
            Self::Memory(rows) => {
                let mut rows = rows.lock();
                for (key, value) in buffer {
                    match value {
                        Some(value) => rows.insert(*key, value.clone()),
                        None => rows.remove(key),
                    };
                }
                Ok(())
            }
        }
    }

    fn sync(&self) -> Result<(), CommitError> {
        match self {
            Self::Disk(database, _) => {
                let synced = database.persist(PersistMode::SyncData);
                synced.map_err(|error| CommitError::Poisoned(error.to_string()))
            }
            Self::Memory(_) => Ok(()),
        }
    }

    fn clear(&self) -> Result<(), CommitError> {
        match self {
            Self::Disk(_, keyspace) => {
                keyspace.clear().map_err(|error| CommitError::Poisoned(error.to_string()))
            }
            Self::Memory(rows) => {
                rows.lock().clear();
                Ok(())
            }
        }
    }
}

/// How keyspaces of rows are made.
pub fn rows_options() -> KeyspaceCreateOptions {
    KeyspaceCreateOptions::default().max_memtable_size(MEMTABLE_BYTES)
}

fn base_name(keyspace: &Keyspace) -> String {
    format!("base_{}", &**keyspace.name())
}

fn copied(rows: &MemoryRows, from: &Key, end: &Key, most: usize) -> Vec<(Key, Bytes)> {
    let rows = rows.lock();
    rows.range(*from..*end).take(most).map(|(key, value)| (*key, value.clone())).collect()
}

fn seal_value(payload: &Bytes) -> Vec<u8> {
    let mut value = Vec::with_capacity(payload.len() + 5);
    value.push(VERSION);
    value.extend_from_slice(payload);
    let checksum = xxh3_64(&value) as u32;
    value.extend_from_slice(&checksum.to_le_bytes());
    value
}

fn open_value(value: Bytes) -> Result<Bytes, Damage> {
    let Some(end) = value.len().checked_sub(4).filter(|end| *end >= 1) else {
        return Err(Damage::new("row", "it is too short"));
    };
    if value[end..] != (xxh3_64(&value[..end]) as u32).to_le_bytes() {
        return Err(Damage::new("row", "its checksum does not match"));
    }
    if value[0] != VERSION {
        return Err(Damage::new("row", "its version is unknown to this version"));
    }
    Ok(value.slice(1..end))
}

fn open_row(guard: fjall::Guard) -> Row {
    let (key, value) = guard.into_inner()?;
    Ok((Key::from_slice(&key), open_value(value.into())?))
}
