//! What the logs of a keyway that does not run tell of the messages of one topic.
//!
//! Invariant: it is an onlooker: a key whose runs overlap, or overtake each other, fails the test that looks.

use std::{
    collections::{BTreeMap, HashMap},
    path::Path,
};

use keyway_storage::{
    directory::{DataDir, Durability},
    event::{Event, EventKind, Position, Received},
    log::Log,
    place::{Offset, ShardId},
};
use serde::Deserialize;

/// Shards of every keyway whose logs are read.
pub const SHARDS: u16 = 2;

/// What happened to the messages of a key.
#[derive(Default)]
pub struct Key {
    /// Offset of the message whose run has begun and not ended.
    begun: Option<i64>,
    /// Offset of the last one whose run has ended.
    last: Option<i64>,
    pub finished: i64,
}

/// What of a message's metadata is looked at.
#[derive(Deserialize)]
struct Request<'a> {
    partition: i64,
    offset: i64,
    key: &'a str,
}

/// What the logs tell of messages, read on from where they were read last.
#[derive(Default)]
pub struct Told {
    next: HashMap<ShardId, Offset>,
    /// How often each offset of each partition came in.
    pub places: BTreeMap<(i64, i64), u32>,
    /// One past the last offset of each partition that came in.
    pub due: HashMap<i64, i64>,
    pub keys: HashMap<String, Key>,
    /// Key and offset of the message that each work order is.
    orders: HashMap<(ShardId, Offset), (String, i64)>,
}

impl Told {
    /// Reads the logs of a keyway that does not run.
    pub fn read(&mut self, home: &Path) {
        let data = DataDir::open(&home.join("data"), SHARDS).unwrap();
        for shard in data.shards() {
            let store = data.open_shard(shard, Durability::Fsync, None).unwrap();
            let from = self.next.get(&shard).copied().unwrap_or(Offset(0));
            for block in store.log.reader().blocks(from) {
                block.unwrap().events(from).for_each(|event| self.observe(&event.unwrap()));
            }
            self.next.insert(shard, store.log.live().end);
        }
    }

    /// The group knows of nothing that the logs do not have.
    pub fn is_not_behind(&self, committed: Vec<Option<i64>>) {
        for (partition, committed) in (0..).zip(committed) {
            let due = self.due.get(&partition).copied().unwrap_or(0);
            assert!(committed.unwrap_or(0) <= due, "partition {partition}: the group is ahead of the log");
        }
    }

    /// Each of so many messages came in once, and its run ended.
    pub fn has_each_once(&self, count: i64) {
        // By their places first: a message that came twice is told from one that was sent twice.
        let twice: Vec<_> = self.places.iter().filter(|(_, times)| **times != 1).collect();
        assert!(twice.is_empty(), "not once: {twice:?}");
        assert_eq!(self.places.len() as i64, count);
        assert_eq!(self.keys.values().map(|key| key.finished).sum::<i64>(), count);
    }

    fn observe(&mut self, event: &Event) {
        let shard = event.place.shard;
        match &event.kind {
            EventKind::Received(received) => self.receive(received, (shard, event.place.offset)),
            EventKind::RunStarted(started) => {
                let (key, offset) = &self.orders[&(shard, started.run.work_order)];
                let seen = self.keys.get_mut(key).unwrap();
                assert!(seen.begun.is_none_or(|begun| begun == *offset), "{key}: two at a time");
                assert!(seen.last < Some(*offset), "{key}: {offset} was overtaken");
                seen.begun = Some(*offset);
            }
            EventKind::RunFinished(finished) => {
                let (key, offset) = &self.orders[&(shard, finished.run.work_order)];
                let seen = self.keys.get_mut(key).unwrap();
                assert_eq!(seen.begun.take(), Some(*offset), "{key}: it had not begun");
                seen.last = Some(*offset);
                seen.finished += 1;
            }
            _ => {}
        }
    }

    fn receive(&mut self, received: &Received, order: (ShardId, Offset)) {
        let Request { partition, offset, key } = serde_json::from_slice(&received.request).unwrap();
        let Position::Next { number, .. } = received.position else { panic!("it has a position") };
        assert_eq!(number as i64, offset);
        *self.places.entry((partition, offset)).or_default() += 1;
        self.due.insert(partition, offset + 1);
        self.keys.entry(key.to_owned()).or_default();
        self.orders.insert(order, (key.to_owned(), offset));
    }
}
