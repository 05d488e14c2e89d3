//! Sets of offsets, walked bucket by bucket, newest first.
//!
//! Invariant: a walk gives each bucket at most once, descending, and reads each row at most once.

use keyway_storage::{
    error::ReadError,
    event::RunState,
    key::{Key, Tag},
    place::Offset,
    rows::{Row, RowsReader},
    table::{BUCKET_OFFSETS, Bitmap, by_state_key},
};

use crate::{run::ENDED_STATES, shard::ShardReader};

type Rows = Box<dyn Iterator<Item = Row>>;

/// The buckets from `first` up to, not including, `end`.
#[derive(Clone, Copy, Debug)]
pub struct Buckets {
    /// The first bucket.
    pub first: u64,
    /// One past the last bucket.
    pub end: u64,
}

impl Buckets {
    /// The buckets that hold the offsets from `first` up to, not including, `end`.
    pub fn of(first: Offset, end: Offset) -> Self {
        Self { first: Bitmap::bucket(first), end: end.0.div_ceil(BUCKET_OFFSETS) }
    }
}

/// A bucket with the offsets in it that belong to a set.
#[derive(Clone, Copy, Debug)]
pub struct Bucket {
    /// Its number.
    pub number: u64,
    /// The offsets that belong to the set.
    pub fits: Bitmap,
    /// The newest and oldest offset of all that were looked at to find them.
    pub looked_at: (Offset, Offset),
}

/// A set made of others: of `any`, those that are in each of `all` and in none of `none`; and those of `also`.
#[derive(Default)]
pub struct Set {
    any: Vec<Walk>,
    all: Vec<Walk>,
    none: Vec<Walk>,
    also: Vec<Walk>,
}

impl Set {
    /// Adds a set to the base.
    pub fn any(mut self, walk: Walk) -> Self {
        self.any.push(walk);
        self
    }

    /// Keeps of the base what is in this set too.
    pub fn all(mut self, walk: Walk) -> Self {
        self.all.push(walk);
        self
    }

    /// Takes out of the base what is in this set.
    pub fn none(mut self, walk: Walk) -> Self {
        self.none.push(walk);
        self
    }

    /// Takes out of the base the work orders that ended and were not asked for again.
    pub fn none_ended(self, reader: &ShardReader, range: Buckets) -> Self {
        ENDED_STATES.into_iter().fold(self, |set, state| set.none(Walk::ended(reader, state, range)))
    }

    /// Adds a set to the result.
    pub fn also(mut self, walk: Walk) -> Self {
        self.also.push(walk);
        self
    }

    /// The next bucket in which the base or `also` has something; what fits of it may be nothing.
    pub fn take(&mut self) -> Result<Option<Bucket>, ReadError> {
        let mut newest = None;
        for walk in self.any.iter_mut().chain(&mut self.also) {
            newest = newest.max(walk.peek()?);
        }
        let Some(number) = newest else { return Ok(None) };
        let mut fits = Bitmap::default();
        let mut looked_at = Bitmap::default();
        for walk in &mut self.any {
            combine(&mut fits, walk.seek(number)?, |mine, other| mine | other);
        }
        combine(&mut looked_at, fits, |mine, other| mine | other);
        for walk in &mut self.all {
            combine(&mut fits, walk.seek(number)?, |mine, other| mine & other);
        }
        for walk in &mut self.none {
            combine(&mut fits, walk.seek(number)?, |mine, other| mine & !other);
        }
        for walk in &mut self.also {
            let also = walk.seek(number)?;
            combine(&mut fits, also, |mine, other| mine | other);
            combine(&mut looked_at, also, |mine, other| mine | other);
        }
        let mut all = looked_at.offsets(number);
        let oldest = all.next().expect("a bucket without offsets has no row");
        let looked_at = (all.next_back().unwrap_or(oldest), oldest);
        Ok(Some(Bucket { number, fits, looked_at }))
    }
}

fn combine(mine: &mut Bitmap, other: Bitmap, with: impl Fn(u8, u8) -> u8) {
    for (mine, other) in mine.0.iter_mut().zip(other.0) {
        *mine = with(*mine, other);
    }
}

/// One set as it is stored.
pub struct Walk {
    rows: Rows,
    head: Option<(u64, Bitmap)>,
    kind: Stored,
}

/// How a set is stored.
#[derive(Clone, Copy)]
enum Stored {
    /// A row per bucket.
    Bitmaps,
    /// A row per offset; the one that was read beyond its bucket.
    Offsets(Option<Offset>),
}

impl Walk {
    /// The work orders that ended in a state.
    pub fn ended(reader: &ShardReader, state: RunState, range: Buckets) -> Self {
        Self::bitmaps(&reader.views, |bucket| by_state_key(state, bucket), range)
    }

    /// A set that has a row per bucket under these keys.
    pub fn bitmaps(rows: &RowsReader, key: impl Fn(u64) -> Key, range: Buckets) -> Self {
        Self { rows: rows.scan_back(key(range.first), key(range.end)), head: None, kind: Stored::Bitmaps }
    }

    /// A set that has a row per offset under this tag.
    pub fn offsets(rows: &RowsReader, tag: Tag, range: Buckets) -> Self {
        let key = |bucket: u64| Key::new(tag).u64(bucket * BUCKET_OFFSETS);
        Self {
            rows: rows.scan_back(key(range.first), key(range.end)),
            head: None,
            kind: Stored::Offsets(None),
        }
    }

    /// The number of the next bucket.
    fn peek(&mut self) -> Result<Option<u64>, ReadError> {
        if self.head.is_none() {
            self.head = self.read()?;
        }
        Ok(self.head.map(|(number, _)| number))
    }

    /// What is in this bucket; goes on to the ones before it.
    fn seek(&mut self, wanted: u64) -> Result<Bitmap, ReadError> {
        while let Some(number) = self.peek()? {
            if number < wanted {
                break;
            }
            let head = self.head.take();
            if let Some((_, set)) = head.filter(|_| number == wanted) {
                return Ok(set);
            }
        }
        Ok(Bitmap::default())
    }

    fn read(&mut self) -> Result<Option<(u64, Bitmap)>, ReadError> {
        match self.kind {
            Stored::Bitmaps => {
                let Some(row) = self.rows.next() else { return Ok(None) };
                let (key, value) = row?;
                Ok(Some((key.last_u64(), Bitmap::from_value(&value)?)))
            }
            Stored::Offsets(beyond) => self.read_offsets(beyond),
        }
    }

    /// Gathers the offsets of one bucket.
    fn read_offsets(&mut self, beyond: Option<Offset>) -> Result<Option<(u64, Bitmap)>, ReadError> {
        let mut next = match beyond {
            Some(offset) => Some(offset),
            None => self.rows.next().transpose()?.map(|(key, _)| Offset(key.last_u64())),
        };
        let Some(first) = next else { return Ok(None) };
        let number = Bitmap::bucket(first);
        let mut set = Bitmap::default();
        while let Some(offset) = next.filter(|offset| Bitmap::bucket(*offset) == number) {
            set.insert(offset);
            next = self.rows.next().transpose()?.map(|(key, _)| Offset(key.last_u64()));
        }
        self.kind = Stored::Offsets(next);
        Ok(Some((number, set)))
    }
}
