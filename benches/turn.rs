//! A turn and its parts: decide, project, and the whole of it on a real store, synced.

mod common;

use std::{
    hint::black_box,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use common::{Flood, NOW, apply, body, catalog, data, decide_one, home, input, open, state, trigger};
use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use keyway_engine::{command::Command, decide::decide, projection::Views};
use keyway_ingest::time;
use keyway_storage::{
    directory::Durability,
    event::{Event, EventKind},
    key::Tag,
    place::Offset,
    rows::Rows,
};

fn decides(bench: &mut Criterion) {
    let (state, trigger, body) = (state(), trigger(), body());
    let mut out: Vec<EventKind> = Vec::with_capacity(4);
    bench.bench_function("decide a webhook", |bencher| {
        bencher.iter(|| {
            out.clear();
            let command = Command::Receive(input(trigger, &body));
            black_box(decide(&state, command, NOW, Offset(7), &mut out)).is_ok()
        });
    });
}

/// 4,096 inputs into state and views, committed to memory.
fn projects(bench: &mut Criterion) {
    let (first, trigger, body) = (state(), trigger(), body());
    let command = |_| Command::Receive(input(trigger, &body));
    let events: Vec<Event> =
        (1..4_097).flat_map(|offset| decide_one(&first, command(offset), offset)).collect();
    let mut group = bench.benchmark_group("project");
    group.throughput(Throughput::Elements(events.len() as u64));
    group.bench_function("4096 inputs", |bencher| {
        let fresh = || (state(), Views::open(Rows::memory(Tag::ViewsWatermark)));
        bencher.iter_batched_ref(
            fresh,
            |(state, views)| {
                for event in &events {
                    state.apply(event).expect("memory does not fail");
                    views.apply(event).expect("memory does not fail");
                }
                state.commit(Offset(4_097)).expect("memory does not fail");
                views.commit(Offset(4_097)).expect("memory does not fail");
            },
            BatchSize::LargeInput,
        );
    });
}

fn turns(bench: &mut Criterion) {
    let (home, catalog, bell) = (home(), catalog(), Arc::default());
    let dir = data(home.path());
    let mut shard = open(&dir, Durability::Fsync, &catalog, &bell);
    apply(&mut shard);
    let left = Arc::new(AtomicU64::new(0));
    shard.connect(vec![Box::new(Flood::new(&left))]);
    let mut group = bench.benchmark_group("turn, synced");
    for inputs in [1, 16, 256, 4_096] {
        group.throughput(Throughput::Elements(inputs));
        group.bench_with_input(BenchmarkId::from_parameter(inputs), &inputs, |bencher, inputs| {
            bencher.iter(|| {
                left.store(*inputs, Ordering::Relaxed);
                shard.turn(time::now()).expect("the turn succeeds")
            });
        });
    }
}

criterion_group!(benches, decides, projects, turns);
criterion_main!(benches);
