//! The disk by itself: blocks like those that the messages of a turn make, written to a plain file and synced one by one.
//!
//! Invariant: a block has the bytes of the log's own block of so many messages; packed, those that the store writes.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use bytes::Bytes;
use keyway_ingest::time;
use keyway_storage::{
    block::{Block, PackedBlock},
    event::{EventKind, LaneId, Position, Received, TriggerId, WorkflowId},
    place::{Offset, ShardId},
};

use super::messages;
use crate::{
    bench::{
        load::{interval::Interval, template::Filling},
        measure::of_parts,
        plain::Plain,
        report::Measure,
    },
    failure::Failure,
};

/// How long it writes each of both.
const WRITING: Duration = Duration::from_secs(3);
const SHARD: ShardId = ShardId(0);
/// A message's metadata without its topic.
const REQUEST: &str =
    r#"{"headers":[],"key":"k-12345","offset":1234567,"partition":1,"ts":1764130000000,"topic":""}"#;
/// What stands beside the topic in the name of a stream.
const STREAM: &str = "/00000000-0000-0000-0000-000000000000/1";

/// The disk, with blocks of one size.
pub struct Disk {
    /// What takes as many bytes as the store writes of a block: the figure to hold the store against.
    pub packed: Measure,
    /// What takes the whole block.
    pub whole: Measure,
    /// How large the blocks are, in a sentence.
    pub sizes: String,
}

impl Disk {
    /// Writes and syncs blocks of so many messages.
    pub fn measure(folder: &Path, topic: &str, messages: u64, body_bytes: usize) -> Result<Self, Failure> {
        let packed = block(topic, messages, body_bytes);
        let whole = PackedBlock::parse(SHARD, packed.clone()).expect("it is a block").whole();
        let sizes =
            format!("a block of {messages} messages has {} bytes, packed {}", whole.len(), packed.len());
        Ok(Self {
            packed: write_and_sync(folder, "plain file, packed, fdatasync", packed, messages)?,
            whole: write_and_sync(folder, "plain file, fdatasync", whole, messages)?,
            sizes,
        })
    }
}

fn write_and_sync(folder: &Path, name: &str, block: Bytes, messages: u64) -> Result<Measure, Failure> {
    let mut plain = Plain::new(folder, block)?;
    let (begun, mut interval) = (Instant::now(), Interval::default());
    while begun.elapsed() < WRITING {
        let started = Instant::now();
        plain.write()?;
        interval.note_latency(started.elapsed());
        interval.succeeded += 1;
    }
    let seconds = begun.elapsed().as_secs_f64();
    let measure = of_parts(name, &[interval], messages);
    Ok(Measure { seconds, per_second: measure.events as f64 / seconds, samples: Vec::new(), ..measure })
}

fn block(topic: &str, messages: u64, body_bytes: usize) -> Bytes {
    let (template, mut body) = (messages::template(), Vec::new());
    let mut received = |number| {
        template.fill(&Filling { number, key: "", bytes: body_bytes }, &mut body);
        EventKind::Received(Received {
            trigger: TriggerId([1; 16]),
            workflow: WorkflowId(2),
            project: Offset(0),
            position: Position::Next { stream: format!("{topic}{STREAM}").into(), number },
            lane: LaneId { owner: 1, number: 0, key: 0 },
            key: Some(number),
            request: Bytes::from(format!("{REQUEST}{topic}")),
            body: Bytes::copy_from_slice(&body),
            replays: None,
        })
    };
    let mut block = Block::new(SHARD);
    block.begin(Offset(0), time::now());
    for number in 0..messages {
        block.push(&received(number));
    }
    block.pack()
}
