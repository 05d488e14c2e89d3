//! The disk by itself: blocks like those that the messages of a turn make, written to a plain file and synced one by one.
//!
//! Invariant: a block has as many bytes as the log's own block of so many messages.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use bytes::Bytes;
use keyway_ingest::time;
use keyway_storage::{
    block::Block,
    event::{EventKind, LaneId, Position, Received, TriggerId, WorkflowId},
    place::{Offset, ShardId},
};

use crate::{
    bench::{load::interval::Interval, measure::of_parts, plain::Plain, report::Measure},
    failure::Failure,
};

/// How long it writes.
const WRITING: Duration = Duration::from_secs(3);
/// A message's metadata without its topic.
const REQUEST: &str =
    r#"{"headers":[],"key":"k-12345","offset":1234567,"partition":1,"ts":1764130000000,"topic":""}"#;
/// What stands beside the topic in the name of a stream.
const STREAM: &str = "/00000000-0000-0000-0000-000000000000/1";

/// Writes and syncs blocks of so many messages.
pub fn write_and_sync(
    folder: &Path,
    topic: &str,
    messages: u64,
    body_bytes: usize,
) -> Result<Measure, Failure> {
    let mut plain = Plain::new(folder, block(topic, messages, body_bytes))?;
    let (begun, mut interval) = (Instant::now(), Interval::default());
    while begun.elapsed() < WRITING {
        let started = Instant::now();
        plain.write()?;
        interval.note_latency(started.elapsed());
        interval.succeeded += 1;
    }
    let seconds = begun.elapsed().as_secs_f64();
    let measure = of_parts("plain file, fdatasync", &[interval], messages);
    Ok(Measure { seconds, per_second: measure.events as f64 / seconds, samples: Vec::new(), ..measure })
}

fn block(topic: &str, messages: u64, body_bytes: usize) -> Vec<u8> {
    let received = |number| {
        EventKind::Received(Received {
            trigger: TriggerId([1; 16]),
            workflow: WorkflowId(2),
            project: Offset(0),
            position: Position::Next { stream: format!("{topic}{STREAM}").into(), number },
            lane: LaneId { owner: 1, number: 0, key: 0 },
            key: Some(number),
            request: Bytes::from(format!("{REQUEST}{topic}")),
            body: Bytes::from(vec![b'x'; body_bytes]),
            replays: None,
        })
    };
    let mut block = Block::new(ShardId(0));
    block.begin(Offset(0), time::now());
    for number in 0..messages {
        block.push(&received(number));
    }
    block.pack().to_vec()
}
