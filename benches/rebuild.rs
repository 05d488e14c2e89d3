//! Rebuild: a log of finished runs, folded into state and views on a real store, as `keyway rebuild` does it.

mod common;

use bytes::Bytes;
use common::{body, data, home, trigger};
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use keyway_engine::{
    project::workflow_id,
    refold::{Ends, Refold, Watcher},
};
use keyway_storage::{
    block::Block,
    directory::{DataDir, Durability, Store},
    event::{
        ClaimedRun, EventKind, ExitReason, FinalState, JobId, LaneId, Position, ProjectApplied, Received,
        RunFinished, RunStarted, RunState, RunsClaimed, StepFinished, StepInput, StepStarted,
    },
    log::Log,
    place::{Offset, RunKey, ShardId, Timestamp},
};

const SHARD: ShardId = ShardId(0);
const NOW: Timestamp = Timestamp(1_700_000_000_000_000);
/// Work orders of one turn.
const PER_TURN: u64 = 256;
const TURNS: u64 = 300;

/// What a webhook and its run leave in the log, but for the claim.
fn run_of(run: RunKey, output: &Bytes) -> [EventKind; 4] {
    let (attempt, step, job) = (1, 0, JobId(0));
    [
        RunStarted { run, attempt, started: NOW, cursor: None }.into(),
        StepStarted { run, attempt, step, job, input: StepInput::Run, started: NOW }.into(),
        StepFinished {
            run,
            attempt,
            step,
            job,
            exit: ExitReason::Success,
            error: None,
            output: output.clone(),
            finished: NOW,
        }
        .into(),
        RunFinished {
            run,
            attempt,
            state: RunState::Success,
            error: None,
            final_state: FinalState::Step(0),
            response: Bytes::new(),
            finished: NOW,
        }
        .into(),
    ]
}

/// Appends turns in each of which as many runs end as inputs come.
fn fill(store: &mut Store) {
    let (workflow, body) = (workflow_id("intake"), body());
    let lane = LaneId { owner: workflow.0, number: 0, key: 0 };
    let mut block = Block::new(SHARD);
    block.begin(Offset(0), NOW);
    block.push(&ProjectApplied { file: Bytes::new(), made: vec![] }.into());
    for _ in 0..TURNS {
        let first = block.next();
        for _ in 0..PER_TURN {
            let (position, request) = (Position::None, Bytes::from_static(b"{\"method\":\"POST\"}"));
            let (trigger, project, body) = (trigger(), Offset(0), body.clone());
            let (key, replays) = (None, None);
            let received =
                Received { trigger, workflow, project, position, lane, key, request, body, replays };
            block.push(&received.into());
        }
        let runs: Vec<_> =
            (first.0..block.next().0).map(|offset| RunKey { work_order: Offset(offset), n: 1 }).collect();
        let claimed = runs.iter().map(|run| ClaimedRun { run: *run, attempt: 1, lane }).collect();
        let until = Timestamp::NEVER;
        block.push(&RunsClaimed { worker: 0, until, runs: claimed, diverted: vec![] }.into());
        for run in runs {
            for kind in run_of(run, &body) {
                block.push(&kind);
            }
        }
        store.log.append(&mut block).expect("the disk has room");
        let end = store.log.live().end;
        block.begin(end, NOW);
    }
}

struct Blind;

impl Watcher for Blind {
    fn pass(&mut self, _: Offset) -> bool {
        true
    }
}

fn open(dir: &DataDir) -> Store {
    let mut store = dir.open_shard(SHARD, Durability::Os, None).expect("the shard opens");
    store.state.clear().expect("the disk has room");
    store.views.clear().expect("the disk has room");
    store
}

fn rebuilds(bench: &mut Criterion) {
    let home = home();
    let dir = data(home.path());
    let mut store = dir.open_shard(SHARD, Durability::Os, None).expect("the shard opens");
    fill(&mut store);
    let end = store.log.live().end;
    drop(store);
    let mut group = bench.benchmark_group("rebuild");
    group.sample_size(10).throughput(Throughput::Elements(end.0));
    for (name, state, views) in [("state", true, false), ("views", false, true), ("all", true, true)] {
        group.bench_function(name, |bencher| {
            let rebuild = |store: Store| {
                let log = store.log.reader();
                let (state, views) = (state.then_some(store.state), views.then_some(store.views));
                let mut refold = Refold::open(&log, state, views).expect("the rows are empty");
                refold.run(&log, Ends::both(end), &mut Blind).expect("the log is whole");
            };
            bencher.iter_batched(|| open(&dir), rebuild, BatchSize::PerIteration);
        });
    }
}

criterion_group!(benches, rebuilds);
criterion_main!(benches);
