//! A walk over two logs comes to what came in by the times of all, not log after log.

use std::{path::Path, sync::Arc};

use bytes::Bytes;
use keyway_engine::{
    refold::{Ends, Refold, Watcher},
    shard::ShardReader,
    stats::Stats,
    view::forward::{Along, Forward, between},
};
use keyway_storage::{
    block::Block,
    directory::{DataDir, Durability, Store},
    event::{
        DeadLettered, EventKind, LaneId, Letter, Position, ProjectApplied, Reason, Received, TriggerId,
        WorkflowId,
    },
    log::Log,
    place::{Offset, ShardId, Span, Timestamp},
};

const ONE: TriggerId = TriggerId([1; 16]);
const OTHER: TriggerId = TriggerId([2; 16]);
/// Milliseconds, and whether it is a work order of the first trigger, of the other one, or a dead letter: of each log.
const LOGS: [&[(u64, What)]; 2] = [
    &[
        (1, What::One),
        (4, What::Letter),
        (5, What::One),
        (5, What::Other),
        (9, What::One),
        (20, What::Letter),
    ],
    &[
        (2, What::Other),
        (3, What::Letter),
        (3, What::One),
        (5, What::One),
        (30, What::Letter),
        (31, What::One),
    ],
];

#[derive(Clone, Copy, PartialEq)]
enum What {
    One,
    Other,
    Letter,
}

fn received(trigger: TriggerId) -> EventKind {
    Received {
        trigger,
        workflow: WorkflowId(1),
        project: Offset(0),
        position: Position::None,
        lane: LaneId { owner: 1, number: 0, key: 0 },
        key: None,
        request: Bytes::new(),
        body: Bytes::from_static(b"{}"),
        replays: None,
    }
    .into()
}

fn dead_letter() -> EventKind {
    let request = Bytes::from_static(b"{}");
    let letter = Letter { request, raw: None, reason: Reason::NotAnObject, detail: "null".into() };
    DeadLettered { trigger: ONE, position: Position::None, letter }.into()
}

struct Whole;

impl Watcher for Whole {
    fn pass(&mut self, _: Offset) -> bool {
        true
    }
}

/// Two logs with these events, a turn each, and their rows.
fn readers(path: &Path) -> Vec<ShardReader> {
    let data = DataDir::open(path, 2).unwrap();
    let read = |(shard, own): (ShardId, &[(u64, What)])| {
        let Store { mut log, state, views } = data.open_shard(shard, Durability::Os, None).unwrap();
        let mut block = Block::new(shard);
        let file = Bytes::from_static(b"name: x");
        block.begin(Offset(0), Timestamp(0));
        block.push(&ProjectApplied { file, made: Vec::new() }.into());
        log.append(&mut block).unwrap();
        for (millis, what) in own {
            block.begin(log.live().end, Timestamp(1_000 * millis));
            block.push(&match what {
                What::One => received(ONE),
                What::Other => received(OTHER),
                What::Letter => dead_letter(),
            });
            log.append(&mut block).unwrap();
        }
        let (reader, state_rows, views_rows) = (log.reader(), state.reader(), views.reader());
        let mut refold = Refold::open(&reader, Some(state), Some(views)).unwrap();
        refold.run(&reader, Ends::both(log.live().end), &mut Whole).unwrap();
        ShardReader {
            shard,
            log: reader,
            state: state_rows,
            views: views_rows,
            stats: Arc::<Stats>::default(),
        }
    };
    data.shards().zip(LOGS).map(read).collect()
}

/// Shard, offset and milliseconds of what a walk comes to.
fn walked(readers: &[ShardReader], along: Along, spans: &[Span]) -> Vec<(u8, u64, u64)> {
    let mut walk = Forward::new(readers, along, spans);
    let mut found = Vec::new();
    while let Some(event) = walk.step().unwrap() {
        found.push((event.place.shard.0, event.place.offset.0, event.at.0 / 1_000));
    }
    assert_eq!(Forward::new(readers, along, spans).count().unwrap(), found.len() as u64);
    found
}

/// What a walk must come to: of all logs by time, then shard, then offset.
fn expected(fits: impl Fn(u64, What) -> bool) -> Vec<(u8, u64, u64)> {
    let mut all = Vec::new();
    for (shard, own) in (0..).zip(LOGS) {
        let fitting = (1..).zip(own).filter(|(_, (millis, what))| fits(*millis, *what));
        all.extend(fitting.map(|(offset, (millis, _))| (shard, offset, *millis)));
    }
    all.sort_by_key(|(shard, offset, millis)| (*millis, *shard, *offset));
    all
}

#[test]
fn events_of_two_logs_come_by_time_then_shard_then_offset() {
    let home = tempfile::tempdir().unwrap();
    let readers = readers(&home.path().join("data"));
    let ends: Vec<Span> = LOGS.map(|own| Span { first: Offset(0), end: Offset(own.len() as u64 + 1) }).into();
    let orders = |trigger| Along::WorkOrders { trigger, state: None };
    let all = walked(&readers, orders(None), &ends);
    assert_eq!(all, expected(|_, what| what != What::Letter));
    // Written out once, so that it is seen that the logs are not walked one after the other.
    let begin = [(0, 1, 1), (1, 1, 2), (1, 3, 3), (0, 3, 5), (0, 4, 5), (1, 4, 5), (0, 5, 9), (1, 6, 31)];
    assert_eq!(all, begin);
    assert_eq!(walked(&readers, orders(Some(ONE)), &ends), expected(|_, what| what == What::One));
    assert_eq!(walked(&readers, Along::Letters, &ends), expected(|_, what| what == What::Letter));
    let between = |(reader, span): (&ShardReader, &Span)| {
        between(reader, *span, Some(Timestamp(3_000)), Some(Timestamp(9_000))).unwrap()
    };
    let parts: Vec<Span> = readers.iter().zip(&ends).map(between).collect();
    let fits = |millis, what| (3..9).contains(&millis) && what != What::Letter;
    assert_eq!(walked(&readers, orders(None), &parts), expected(fits));
}
