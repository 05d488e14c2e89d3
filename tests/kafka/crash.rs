//! A keyway and a broker that are killed (-9) while messages flow.
//!
//! `KEYWAY_TEST_KAFKA_MESSAGES=N` says how many messages flow: 200,000 take two cores about a minute more.

use std::{
    collections::{BTreeMap, HashMap},
    path::Path,
};

use keyway_storage::{
    directory::{DataDir, Durability},
    event::{Event, EventKind, Position},
    log::Log,
    place::{Offset, ShardId},
};
use serde_json::{Value, json};

use crate::{
    broker::Broker,
    client::Client,
    common::keyway::eventually,
    world::{Setting, is_idle, is_read, orders},
};

const PARTITIONS: i32 = 8;
const SHARDS: u16 = 2;
const KEYS: i64 = 500;
const MESSAGES: i64 = 100_000;
/// How many messages come in before each kill: never the same point of a turn, nor between two commits, twice.
const TAKEN_BEFORE_KILL: [u64; 12] = [1, 700, 33, 2_500, 1, 150, 4_000, 17, 333, 1_500, 60, 900];
const KILLS_OF_THE_BROKER: [usize; 2] = [3, 8];

#[test]
fn whatever_is_killed_each_message_becomes_one_work_order_and_keys_keep_their_order() {
    let count = std::env::var("KEYWAY_TEST_KAFKA_MESSAGES").map_or(MESSAGES, |count| count.parse().unwrap());
    let mut broker = Broker::start();
    let client = Client::new(&broker.address());
    let setting = Setting::on(&broker.address(), "crash", PARTITIONS);
    let home = tempfile::tempdir().unwrap();
    let mut server = setting.start(home.path(), &[]);
    let mut told = Told::default();
    let rounds = TAKEN_BEFORE_KILL.len() as i64;
    for (round, taken) in (0..).zip(TAKEN_BEFORE_KILL) {
        send(&client, &setting.topic, round * count / rounds..(round + 1) * count / rounds);
        let before = orders(&server);
        eventually("some came in", || orders(&server) >= (before + taken).min(count as u64 / 2));
        if KILLS_OF_THE_BROKER.contains(&(round as usize)) {
            broker.kill();
            broker.restart();
        }
        server.kill();
        client.flush();
        told.read(home.path());
        let committed = client.committed(&setting.group, &setting.topic, PARTITIONS);
        for (partition, committed) in (0..).zip(committed) {
            let due = told.due.get(&partition).copied().unwrap_or(0);
            assert!(committed.unwrap_or(0) <= due, "partition {partition}: the group is ahead of the log");
        }
        server = setting.start(home.path(), &[]);
        is_read(&server, PARTITIONS as usize);
    }
    assert_eq!(client.count(&setting.topic, PARTITIONS), count, "the broker has each message once");
    while orders(&server) < count as u64 {
        let before = orders(&server);
        eventually("more came in", || orders(&server) > before);
    }
    is_idle(&server);
    let shown = orders(&server);
    assert_eq!(server.stop().code(), Some(0));
    // By their places first: a message that came twice is told from one that was sent twice.
    told.read(home.path());
    let twice: Vec<_> = told.places.iter().filter(|(_, times)| **times != 1).collect();
    assert!(twice.is_empty(), "not once: {twice:?}");
    assert_eq!(told.places.len() as i64, count);
    assert_eq!(shown, count as u64);
    assert_eq!(told.keys.values().map(|key| key.finished).sum::<i64>(), count);
    assert_eq!(told.keys.len() as i64, KEYS.min(count));
}

/// Sends these messages, each key always to the same partition.
fn send(client: &Client, topic: &str, numbers: std::ops::Range<i64>) {
    for n in numbers {
        let (key, body) = (format!("k{}", n % KEYS), json!({ "n": n }).to_string());
        let partition = (n % KEYS) as i32 % PARTITIONS;
        client.queue(topic, partition, Some(key.as_bytes()), Some(body.as_bytes()));
    }
}

/// What happened to the messages of a key.
#[derive(Default)]
struct Key {
    /// Offset of the message whose run has begun and not ended.
    begun: Option<i64>,
    /// Offset of the last one whose run has ended.
    last: Option<i64>,
    finished: i64,
}

/// What the logs tell of messages, read on from where they were read last.
#[derive(Default)]
struct Told {
    next: HashMap<ShardId, Offset>,
    /// How often each offset of each partition came in.
    places: BTreeMap<(i64, i64), u32>,
    /// One past the last offset of each partition that came in.
    due: HashMap<i64, i64>,
    keys: HashMap<String, Key>,
    /// Key and offset of the message that each work order is.
    orders: HashMap<(ShardId, Offset), (String, i64)>,
}

impl Told {
    /// Reads the logs of a keyway that does not run.
    fn read(&mut self, home: &Path) {
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

    fn observe(&mut self, event: &Event) {
        let shard = event.place.shard;
        match &event.kind {
            EventKind::Received(received) => {
                let request: Value = serde_json::from_slice(&received.request).unwrap();
                let (partition, offset) =
                    (request["partition"].as_i64().unwrap(), request["offset"].as_i64().unwrap());
                let Position::Next { number, .. } = received.position else { panic!("it has a position") };
                assert_eq!(number as i64, offset);
                *self.places.entry((partition, offset)).or_default() += 1;
                self.due.insert(partition, offset + 1);
                let key = request["key"].as_str().unwrap().to_owned();
                self.orders.insert((shard, event.place.offset), (key, offset));
            }
            EventKind::RunStarted(started) => {
                let (key, offset) = &self.orders[&(shard, started.run.work_order)];
                let seen = self.keys.entry(key.clone()).or_default();
                assert!(seen.begun.is_none_or(|begun| begun == *offset), "{key}: two at a time");
                assert!(seen.last < Some(*offset), "{key}: {offset} was overtaken");
                seen.begun = Some(*offset);
            }
            EventKind::RunFinished(finished) => {
                let (key, offset) = &self.orders[&(shard, finished.run.work_order)];
                let seen = self.keys.entry(key.clone()).or_default();
                assert_eq!(seen.begun.take(), Some(*offset), "{key}: it had not begun");
                seen.last = Some(*offset);
                seen.finished += 1;
            }
            _ => {}
        }
    }
}
