//! A block: encoded, decoded, and appended, against a plain file that takes the same bytes: packed, as the
//! store has them.

mod common;

use std::{fs::File, hint::black_box, io::Write};

use common::{body, data, home, trigger};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use keyway_storage::{
    block::{Block, PackedBlock},
    directory::Durability,
    event::{EventKind, LaneId, Position, Received, WorkflowId},
    log::Log,
    place::{Offset, ShardId, Timestamp},
};

const SHARD: ShardId = ShardId(0);

fn received() -> EventKind {
    Received {
        trigger: trigger(),
        workflow: WorkflowId(1),
        project: Offset(0),
        position: Position::None,
        lane: LaneId { owner: 1, number: 0, key: 0 },
        key: None,
        request: bytes::Bytes::from_static(b"{\"method\":\"POST\"}"),
        body: body(),
        replays: None,
    }
    .into()
}

fn fill(block: &mut Block, first: Offset, event: &EventKind, count: usize) {
    block.begin(first, Timestamp(1));
    for _ in 0..count {
        block.push(event);
    }
}

fn codes(bench: &mut Criterion) {
    let (mut block, event) = (Block::new(SHARD), received());
    let mut group = bench.benchmark_group("block of 256");
    group.throughput(Throughput::Elements(256));
    group.bench_function("encode", |bencher| {
        bencher.iter(|| {
            fill(&mut block, Offset(0), &event, 256);
            black_box(block.pack().len())
        });
    });
    let value = block.pack();
    group.bench_function("check and decode", |bencher| {
        bencher.iter(|| {
            let packed = PackedBlock::parse(SHARD, value.clone()).expect("it is whole");
            packed.events(Offset(0)).map(|event| event.expect("it is whole").place.offset.0).sum::<u64>()
        });
    });
}

fn appends(bench: &mut Criterion) {
    let (home, event) = (home(), received());
    let dir = data(home.path());
    let mut store = dir.open_shard(SHARD, Durability::Fsync, None).expect("the shard opens");
    let mut block = Block::new(SHARD);
    let mut file = File::create(home.path().join("plain")).expect("a file");
    let mut group = bench.benchmark_group("append, synced");
    for count in [1usize, 16, 256] {
        group.throughput(Throughput::Elements(count as u64));
        group.bench_with_input(BenchmarkId::new("log", count), &count, |bencher, count| {
            bencher.iter(|| {
                fill(&mut block, store.log.live().end, &event, *count);
                store.log.append(&mut block).expect("the append succeeds")
            });
        });
        group.bench_with_input(BenchmarkId::new("plain file, packed", count), &count, |bencher, count| {
            fill(&mut block, Offset(0), &event, *count);
            let bytes = block.pack();
            bencher.iter(|| {
                file.write_all(&bytes).expect("the write succeeds");
                file.sync_data().expect("the sync succeeds");
            });
        });
    }
}

criterion_group!(benches, codes, appends);
criterion_main!(benches);
