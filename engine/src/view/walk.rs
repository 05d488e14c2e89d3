//! A walk over the events of all shards that belong to a set, newest first, page by page.
//!
//! Invariant: events come by (time, shard, offset), descending; a page goes on where the one before it ended, and
//! looks at a bounded number of events however few fit.

use std::cmp::Ordering;

use keyway_storage::{
    error::ReadError,
    event::Event,
    limits::{PAGE_LOOKS_MAX, WALK_BUCKETS_MAX},
    place::{Offset, Place, Span, Timestamp},
};

use super::set::{Bucket, Buckets, Set};
use crate::shard::ShardReader;

/// Which events a page is made of.
#[derive(Debug, Default, Clone, Copy)]
pub struct Range {
    /// Only those at this time or later.
    pub after: Option<Timestamp>,
    /// Only those before this time.
    pub before: Option<Timestamp>,
    /// Only those that come behind this one.
    pub behind: Option<Place>,
    /// Most of them.
    pub most: usize,
}

/// A page.
#[derive(Debug)]
pub struct Page<T> {
    /// What fits.
    pub items: Vec<T>,
    /// The event behind which the next page begins; `None` when nothing is left.
    pub next: Option<Place>,
}

/// A page of what `fits` makes of the events in the sets.
pub fn page<T>(
    readers: &[ShardReader],
    range: &Range,
    set: impl Fn(&ShardReader, Buckets) -> Set,
    mut fits: impl FnMut(&ShardReader, Event) -> Result<Option<T>, ReadError>,
) -> Result<Page<T>, ReadError> {
    let behind = match range.behind {
        Some(place) => Some((time_of(readers, place)?, place)),
        None => None,
    };
    let mut walks = Vec::new();
    for reader in readers {
        walks.push(ShardWalk::begin(reader, range, behind, &set)?);
    }
    let mut page = Page { items: Vec::new(), next: None };
    let (mut last_fit, mut last_seen, mut looks) = (range.behind, range.behind, 0);
    loop {
        let newest = walks.iter_mut().filter(|walk| walk.head.is_some()).max_by_key(|walk| walk.key());
        let Some(walk) = newest else { return Ok(page) };
        let Some(head) = walk.take()? else { return Ok(page) };
        looks += head.looks;
        if looks > PAGE_LOOKS_MAX {
            page.next = last_seen;
            return Ok(page);
        }
        last_seen = Some(head.event.place);
        let item = if head.belongs { fits(walk.reader, head.event)? } else { None };
        let Some(item) = item else { continue };
        if page.items.len() == range.most {
            page.next = last_fit;
            return Ok(page);
        }
        last_fit = last_seen;
        page.items.push(item);
    }
}

fn time_of(readers: &[ShardReader], place: Place) -> Result<Timestamp, ReadError> {
    let reader = readers.iter().find(|reader| reader.shard == place.shard);
    let block = reader.map(|reader| reader.log.block_from(place.offset)).transpose()?.flatten();
    Ok(block.map_or(Timestamp(0), |block| block.at()))
}

/// One shard's part of a walk.
struct ShardWalk<'a> {
    reader: &'a ShardReader,
    set: Set,
    bucket: Vec<Offset>,
    first: Offset,
    end: Offset,
    head: Option<Head>,
}

/// An event that a walk has come to.
struct Head {
    event: Event,
    /// Whether it belongs to the set; otherwise it only marks how far the walk has come.
    belongs: bool,
    /// How many looks it took to come here.
    looks: usize,
}

impl<'a> ShardWalk<'a> {
    fn begin(
        reader: &'a ShardReader,
        range: &Range,
        behind: Option<(Timestamp, Place)>,
        set: impl Fn(&ShardReader, Buckets) -> Set,
    ) -> Result<Self, ReadError> {
        let live = Span { first: Offset(0), end: reader.stats.tail() };
        let mut end = live.end;
        if let Some((at, place)) = behind {
            end = match place.shard.cmp(&reader.shard) {
                Ordering::Equal => place.offset.min(end),
                // Within a microsecond, shards with a larger number come first.
                Ordering::Greater => reader.log.at_or_after(Timestamp(at.0 + 1), live)?,
                Ordering::Less => reader.log.at_or_after(at, live)?,
            };
        }
        if let Some(before) = range.before {
            end = end.min(reader.log.at_or_after(before, live)?);
        }
        let first = range.after.map_or(Ok(live.first), |after| reader.log.at_or_after(after, live))?;
        let set = set(reader, Buckets::of(first, end.max(first)));
        let mut walk = Self { reader, set, bucket: Vec::new(), first, end, head: None };
        walk.head = walk.step()?;
        Ok(walk)
    }

    fn key(&self) -> Option<(Timestamp, Place)> {
        self.head.as_ref().map(|head| (head.event.at, head.event.place))
    }

    fn take(&mut self) -> Result<Option<Head>, ReadError> {
        let next = self.step()?;
        Ok(std::mem::replace(&mut self.head, next))
    }

    fn step(&mut self) -> Result<Option<Head>, ReadError> {
        for empty in 0.. {
            if let Some(offset) = self.bucket.pop() {
                return self.head_at(offset, true, 1 + empty);
            }
            let Some(bucket) = self.set.take()? else { return Ok(None) };
            let range = self.first..self.end;
            self.bucket =
                bucket.fits.offsets(bucket.number).filter(|offset| range.contains(offset)).collect();
            if self.bucket.is_empty()
                && empty >= WALK_BUCKETS_MAX
                && let Some(mark) = self.mark(&bucket)
            {
                return self.head_at(mark, false, empty);
            }
        }
        unreachable!("a walk ends before it counted all buckets")
    }

    /// An offset that says how far the walk has come, where nothing fits.
    fn mark(&self, bucket: &Bucket) -> Option<Offset> {
        let (newest, oldest) = bucket.looked_at;
        [oldest, newest].into_iter().find(|offset| (self.first..self.end).contains(offset))
    }

    fn head_at(&self, offset: Offset, belongs: bool, looks: usize) -> Result<Option<Head>, ReadError> {
        // The views may know an event only after the log does, never before.
        let event = self.reader.log.event(offset)?;
        Ok(event.map(|event| Head { event, belongs, looks }))
    }
}
