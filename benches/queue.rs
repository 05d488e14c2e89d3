//! The queue: work orders wait and are claimed, in one lane without order and in many lanes by key.

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use keyway_engine::queue::{Queue, lane};
use keyway_storage::{event::LaneId, key::Tag, place::Offset, rows::Rows, table::WaitingEntry};

const WAITING: u64 = 4_096;

fn lane_of(lanes: u64, offset: u64) -> LaneId {
    let number = if lanes == 1 { lane::NONE } else { lane::KEYED + (offset % lanes) as u16 };
    LaneId { owner: 1, number, key: 0 }
}

fn filled(lanes: u64) -> (Queue, Rows) {
    let (mut queue, mut rows) = (Queue::default(), Rows::memory(Tag::Watermark));
    for offset in 0..WAITING {
        let entry = WaitingEntry { offset: Offset(offset), key: Some(offset) };
        queue.push(lane_of(lanes, offset), entry, &mut rows).expect("memory does not fail");
    }
    (queue, rows)
}

/// Takes the next run of every lane in turn, and gives it back at once.
fn serve(lanes: u64, (queue, rows): &mut (Queue, Rows)) {
    for offset in 0..WAITING {
        let id = lane_of(lanes, offset);
        queue.refill(rows).expect("memory does not fail");
        queue.take(id, Offset(offset), rows).expect("memory does not fail");
        queue.give_back(id, rows);
    }
}

fn queues(bench: &mut Criterion) {
    let mut group = bench.benchmark_group("queue of 4096");
    group.throughput(Throughput::Elements(WAITING));
    for lanes in [1, 64] {
        group.bench_with_input(BenchmarkId::new("push, lanes", lanes), &lanes, |bencher, lanes| {
            bencher.iter_with_large_drop(|| filled(*lanes));
        });
        group.bench_with_input(
            BenchmarkId::new("take and give back, lanes", lanes),
            &lanes,
            |bencher, lanes| {
                bencher.iter_batched_ref(
                    || filled(*lanes),
                    |filled| serve(*lanes, filled),
                    BatchSize::LargeInput,
                );
            },
        );
    }
}

criterion_group!(benches, queues);
criterion_main!(benches);
