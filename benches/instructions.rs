//! One part at a time, for callgrind to count: `benches/instructions` runs it, and divides by the events.
//!
//! Instructions do not depend on what else the machine does, so that a change can be held against them.

mod common;

use std::{
    hint::black_box,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use bytes::Bytes;
use common::{Flood, apply, body, catalog, data, decide_one, home, input, open, project, state, trigger};
use keyway_engine::{
    command::{Claim, Command, Permits},
    decide::decide,
    executor::sandbox::{Sandbox, Scripts},
    projection::Views,
    shard::Shard,
};
use keyway_ingest::{json, time};
use keyway_storage::{
    block::Block,
    directory::Durability,
    event::EventKind,
    id::Ids,
    key::Tag,
    place::{Offset, Place, ShardId, Timestamp},
    rows::Rows,
};

/// Does its work for so many events.
type Part = fn(u64);

const PARTS: &[(&str, Part)] = &[
    ("check 300 bytes of JSON", check),
    ("make an id", make_ids),
    ("decide a webhook", decides),
    ("encode an event, 256 a block", encode),
    ("project an input into state and views", projects),
    ("claim a run, 16 a claim", claims),
    ("a turn of 256 inputs on a store", turn::<256>),
    ("a turn of one input on a store", turn::<1>),
    ("a trivial run", run),
];

fn main() {
    let mut arguments = std::env::args().skip(1).filter(|argument| !argument.starts_with("--"));
    let (Some(index), Some(events)) = (arguments.next(), arguments.next()) else {
        return PARTS.iter().for_each(|(name, _)| println!("{name}"));
    };
    let (_, part) = PARTS[index.parse::<usize>().expect("the number of a part")];
    part(events.parse().expect("a number of events"));
}

/// What callgrind counts is what happens in here; all else is preparation.
#[inline(never)]
fn counted(mut work: impl FnMut()) {
    work();
}

fn check(events: u64) {
    let body = body();
    counted(|| (0..events).for_each(|_| assert!(json::check(black_box(&body)).is_ok())));
}

fn make_ids(events: u64) {
    let ids = Ids::new([7; 16]);
    counted(|| {
        for offset in 0..events {
            let place = Place { shard: ShardId(0), offset: Offset(offset) };
            black_box(ids.work_order(place, Timestamp(1_700_000_000_000_000)));
        }
    });
}

fn decides(events: u64) {
    let (state, trigger, body) = (state(), trigger(), body());
    let mut out: Vec<EventKind> = Vec::with_capacity(4);
    counted(|| {
        for _ in 0..events {
            out.clear();
            let command = Command::Receive(input(trigger, &body));
            let answer = decide(&state, command, common::NOW, Offset(7), &mut out);
            black_box(answer.expect("memory does not fail"));
        }
    });
}

fn encode(events: u64) {
    let (state, trigger, body) = (state(), trigger(), body());
    let kind = decide_one(&state, Command::Receive(input(trigger, &body)), 1).remove(0).kind;
    let mut block = Block::new(ShardId(0));
    counted(|| {
        for first in (0..events).step_by(256) {
            block.begin(Offset(first), common::NOW);
            (0..256).for_each(|_| _ = block.push(&kind));
            black_box(block.pack());
        }
    });
}

fn projects(events: u64) {
    let (mut state, trigger, body) = (state(), trigger(), body());
    let mut views = Views::open(Rows::memory(Tag::ViewsWatermark));
    let command = |_| Command::Receive(input(trigger, &body));
    let events: Vec<_> =
        (1..=events).flat_map(|offset| decide_one(&state, command(offset), offset)).collect();
    let end = Offset(events.len() as u64 + 1);
    counted(|| {
        for event in &events {
            state.apply(event).expect("memory does not fail");
            views.apply(event).expect("memory does not fail");
        }
        state.commit(end).expect("memory does not fail");
        views.commit(end).expect("memory does not fail");
    });
}

fn claims(events: u64) {
    let (mut state, trigger, body) = (state(), trigger(), body());
    for offset in 1..=events {
        for event in decide_one(&state, Command::Receive(input(trigger, &body)), offset) {
            state.apply(&event).expect("memory does not fail");
        }
    }
    let unlimited = || Permits { project: u32::MAX, ..Permits::default() };
    let mut next = events + 1;
    counted(|| {
        for _ in (0..events).step_by(16) {
            state.prepare_claim().expect("memory does not fail");
            let claim = Command::Claim(Claim { worker: 0, demand: 16, permits: unlimited() });
            for event in decide_one(&state, claim, next) {
                state.apply(&event).expect("memory does not fail");
                next += 1;
            }
        }
    });
}

fn turn<const INPUTS: u64>(events: u64) {
    let (home, catalog, bell) = (home(), catalog(), Arc::default());
    let dir = data(home.path());
    let mut shard = open(&dir, Durability::Os, &catalog, &bell);
    apply(&mut shard);
    let left = Arc::new(AtomicU64::new(0));
    shard.connect(vec![Box::new(Flood::new(&left))]);
    let one = |shard: &mut Shard| {
        left.store(INPUTS, Ordering::Relaxed);
        shard.turn(time::now()).expect("the turn succeeds")
    };
    // Buffers grow to what a turn needs.
    (0..8).for_each(|_| _ = one(&mut shard));
    counted(|| (0..events).step_by(INPUTS as usize).for_each(|_| _ = one(&mut shard)));
}

fn run(events: u64) {
    let (project, scripts) = (project(), Scripts::default());
    let workflow = &project.workflows[0];
    let state = Bytes::from_static(br#"{"data":{"patient":{"id":"p-1","name":"Amina"}},"request":{}}"#);
    let mut sandbox = Sandbox::new().expect("there is memory");
    counted(|| (0..events).for_each(|_| common::run(workflow, &scripts, &mut sandbox, &state)));
}
