//! Permits are exact, however the claims of several shards overlap.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    thread,
};

use bytes::Bytes;
use keyway_engine::{
    command::{Answer, Apply, Claim, Command, Input, Permits, RunClaim, RunReport},
    decide::decide,
    permit::PermitPool,
    project::Project,
    state::State,
};
use keyway_storage::{
    event::{Event, EventKind, FinalState, Position, RunFinished, RunState, WorkflowId},
    key::Tag,
    place::{Offset, Place, ShardId, Timestamp},
    rows::Rows,
};

use crate::reading::read;

const NOW: Timestamp = Timestamp(1_780_000_000_000_000);
const PROJECT_MAX: u32 = 5;
/// Of the first workflows; the last one has none of its own.
const WORKFLOW_MAX: [u32; 2] = [3, 1];
const WORKFLOWS: usize = 3;
const SHARDS: u8 = 4;
/// Of each workflow on each shard.
const RUNS: usize = 200;
const SEEDS: u64 = 20;

fn project(project_max: Option<u32>) -> Arc<Project> {
    let mut text = "name: permits\nworkflows:\n".to_owned();
    for index in 0..WORKFLOWS {
        let limit = WORKFLOW_MAX.get(index).map_or_else(String::new, |max| format!("concurrency: {max}, "));
        text += &format!(
            "  w{index}: {{{limit}jobs: {{job: {{body: 'fn(s => s)'}}}}, triggers: {{bell: {{type: bell}}}}, \
             edges: {{e: {{source_trigger: bell, target_job: job}}}}}}\n"
        );
    }
    let mut project = read(&text).unwrap().project;
    project.concurrency = project_max;
    Arc::new(project)
}

/// A shard as far as claims are concerned.
struct Shard {
    state: State,
    project: Arc<Project>,
    next: u64,
}

impl Shard {
    fn new(id: u8, project: &Arc<Project>) -> Self {
        let (project, current) = (Arc::clone(project), Arc::clone(project));
        let projects = Arc::new(move |_, _: Option<&_>| Some(Arc::clone(&current)));
        let state = State::open(ShardId(id), Rows::memory(Tag::Watermark), projects).unwrap();
        let mut shard = Self { state, project: Arc::clone(&project), next: 0 };
        shard.ask(Command::Apply(Apply { file: Bytes::new(), made: vec![], project }));
        shard
    }

    fn ask(&mut self, command: Command) -> Answer {
        let mut events = Vec::new();
        let answer = decide(&self.state, command, NOW, Offset(self.next), &mut events).unwrap();
        for kind in events {
            let place = Place { shard: self.state.shard(), offset: Offset(self.next) };
            self.state.apply(&Event { place, at: NOW, kind }).unwrap();
            self.next += 1;
        }
        answer
    }

    fn receive(&mut self, workflow: usize, times: usize) {
        for _ in 0..times {
            let answer = self.ask(Command::Receive(Input {
                trigger: self.project.workflows[workflow].triggers[0].id,
                position: Position::None,
                key: None,
                stream: 0,
                request: Bytes::new(),
                body: Ok(Bytes::from_static(b"{}")),
                follow: None,
                replays: None,
            }));
            assert!(matches!(answer, Answer::Accepted(_)), "{answer:?}");
        }
    }

    fn borrow(&mut self, pool: &PermitPool, demand: u16) -> Permits {
        self.state.prepare_claim().unwrap();
        pool.borrow(&self.state, demand)
    }

    fn claim(&mut self, demand: u16, permits: &Permits) -> Vec<RunClaim> {
        match self.ask(Command::Claim(Claim { worker: 0, demand, permits: permits.clone() })) {
            Answer::Claimed(claims) => claims,
            other => panic!("{other:?}"),
        }
    }

    /// Ends a run, and gives its permits back.
    fn end(&mut self, pool: &PermitPool, claim: &RunClaim) {
        let (run, attempt, state) = (claim.run, claim.attempt, RunState::Success);
        let (error, final_state, response, finished) = (None, FinalState::None, Bytes::new(), NOW);
        let end = RunFinished { run, attempt, state, error, final_state, response, finished };
        let report = RunReport { run, attempt, cursor: None, events: vec![EventKind::RunFinished(end)] };
        assert!(matches!(self.ask(Command::Report(report)), Answer::Done));
        self.state.drain_freed().for_each(|workflow| pool.give_back(workflow));
    }
}

/// How many permits the pool gives out for the project, and for each limited workflow.
fn left(shard: &mut Shard, pool: &PermitPool) -> (u32, Vec<u32>) {
    let permits = shard.borrow(pool, 100);
    pool.settle(&permits, 100, &[]);
    (permits.project, permits.workflows.iter().map(|(_, left)| *left).collect())
}

#[test]
fn what_one_claim_has_borrowed_no_other_gets_until_it_is_settled() {
    let (project, pool) = (project(Some(3)), PermitPool::default());
    let (mut first, mut second) = (Shard::new(0, &project), Shard::new(1, &project));
    first.receive(2, 1);
    second.receive(2, 9);
    let borrowed = first.borrow(&pool, 3);
    assert_eq!(borrowed.project, 3);
    let nothing = second.borrow(&pool, 3);
    assert_eq!(nothing.project, 0, "all of them are borrowed");
    assert_eq!(second.claim(3, &nothing).len(), 0);
    pool.settle(&nothing, 3, &[]);
    let claims = first.claim(3, &borrowed);
    assert_eq!(claims.len(), 1);
    pool.settle(&borrowed, 3, &claims);
    let rest = second.borrow(&pool, 3);
    assert_eq!(rest.project, 2, "one is used, and two came back");
    let others = second.claim(3, &rest);
    pool.settle(&rest, 3, &others);
    assert_eq!((others.len(), pool.open()), (2, 3));
    first.end(&pool, &claims[0]);
    assert_eq!(left(&mut second, &pool).0, 1);
}

#[test]
fn what_one_claim_has_borrowed_of_a_workflow_no_other_gets_until_it_is_settled() {
    let (project, pool) = (project(None), PermitPool::default());
    let (mut first, mut second) = (Shard::new(0, &project), Shard::new(1, &project));
    first.receive(0, 1);
    second.receive(0, 9);
    let borrowed = first.borrow(&pool, 2);
    assert_eq!(borrowed.workflows, [(project.workflows[0].id, 2)]);
    let one = second.borrow(&pool, 2);
    assert_eq!(one.workflows, [(project.workflows[0].id, 1)]);
    let (own, other) = (first.claim(2, &borrowed), second.claim(2, &one));
    pool.settle(&one, 2, &other);
    assert_eq!(left(&mut second, &pool).1, [0], "two are borrowed, one is used");
    pool.settle(&borrowed, 2, &own);
    assert_eq!(left(&mut second, &pool).1, [1]);
}

/// What all shards together have.
#[derive(Default)]
struct Tally(Mutex<Counts>);

#[derive(Default)]
struct Counts {
    begun: usize,
    /// How many runs of the project, or of a workflow, there are at once, and were at most.
    open: BTreeMap<Option<WorkflowId>, (u32, u32)>,
}

impl Tally {
    fn begin(&self, claims: &[RunClaim]) {
        let mut counts = self.0.lock().unwrap();
        counts.begun += claims.len();
        for of in claims.iter().flat_map(|claim| [None, Some(claim.workflow)]) {
            let (now, most) = counts.open.entry(of).or_default();
            *now += 1;
            *most = (*most).max(*now);
        }
    }

    fn end(&self, claim: &RunClaim) {
        let mut counts = self.0.lock().unwrap();
        for of in [None, Some(claim.workflow)] {
            counts.open.get_mut(&of).unwrap().0 -= 1;
        }
    }
}

/// Claims and ends runs at random, until all of a shard's have ended.
fn work(id: u8, project: &Arc<Project>, pool: &PermitPool, tally: &Tally, seed: u64) {
    let mut random = fastrand::Rng::with_seed(seed * u64::from(SHARDS) + u64::from(id));
    let mut shard = Shard::new(id, project);
    (0..WORKFLOWS).for_each(|workflow| shard.receive(workflow, RUNS));
    let (mut running, mut ended) = (Vec::new(), 0);
    while ended < WORKFLOWS * RUNS {
        let demand = random.u16(1..=8);
        let permits = shard.borrow(pool, demand);
        if random.bool() {
            thread::yield_now();
        }
        let claims = shard.claim(demand, &permits);
        tally.begin(&claims);
        pool.settle(&permits, demand, &claims);
        if claims.is_empty() {
            thread::yield_now();
        }
        running.extend(claims);
        for _ in 0..random.usize(0..=running.len()) {
            let claim: RunClaim = running.swap_remove(random.usize(0..running.len()));
            tally.end(&claim);
            shard.end(pool, &claim);
            ended += 1;
        }
    }
}

#[test]
fn shards_that_claim_at_the_same_time_never_have_more_runs_than_the_limits_and_lose_no_permit() {
    let project = project(Some(PROJECT_MAX));
    for seed in 0..SEEDS {
        let (pool, tally) = (PermitPool::default(), Tally::default());
        thread::scope(|scope| {
            for id in 0..SHARDS {
                let (project, pool, tally) = (&project, &pool, &tally);
                scope.spawn(move || work(id, project, pool, tally, seed));
            }
        });
        let Counts { begun, open: counts } = tally.0.into_inner().unwrap();
        assert_eq!(begun, usize::from(SHARDS) * WORKFLOWS * RUNS, "seed {seed}");
        let most = |of: Option<usize>| counts[&of.map(|index| project.workflows[index].id)].1;
        // The limits are reached, so that they were looked at; a thread may be alone for long on a busy machine.
        assert!(most(None) <= PROJECT_MAX, "seed {seed}: {counts:?}");
        assert!(most(Some(0)) <= WORKFLOW_MAX[0], "seed {seed}: {counts:?}");
        assert!(most(Some(1)) <= WORKFLOW_MAX[1], "seed {seed}: {counts:?}");
        assert!(most(None) >= WORKFLOW_MAX[0], "seed {seed}: {counts:?}");
        let mut fresh = Shard::new(0, &project);
        (0..WORKFLOWS).for_each(|workflow| fresh.receive(workflow, 1));
        assert_eq!((pool.open(), left(&mut fresh, &pool)), (0, (PROJECT_MAX, WORKFLOW_MAX.to_vec())));
    }
}
