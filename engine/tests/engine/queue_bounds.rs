//! What a shard keeps in memory of its queue is bounded: lanes, runs with workers, runs that wait again.
//!
//! The bounds are hit as they are, by a quarter of a million work orders in memory.

use std::{collections::HashSet, sync::Arc};

use bytes::Bytes;
use keyway_engine::{
    command::{Answer, Apply, Claim, Command, Input, Permits, Refusal, Release, Rerun, RunClaim, RunReport},
    decide::decide,
    project::Project,
    queue::lane::{NONE, lane_of},
    state::State,
};
use keyway_storage::{
    event::{
        Event, EventKind, FinalState, LaneId, Position, RunFinished, RunState, StepInput, TriggerId,
        WorkflowId,
    },
    key::Tag,
    limits::{
        CLAIM_RUNS_MAX, LANE_FRONT_ENTRIES_MAX, LANE_FRONT_ORDERED_MAX, LANES_MAX, LEASES_MAX,
        ORDERING_PARTITIONS, REQUEUED_MAX, SET_ASIDE_MAX,
    },
    place::{Offset, Place, ShardId, Timestamp},
    rows::Rows,
};

use crate::reading::{read, shown};

const SHARD: ShardId = ShardId(0);
const NOW: Timestamp = Timestamp(1_780_000_000_000_000);
const BLOCKED: u64 = 7;

/// A workflow for each of these orderings.
fn project(orderings: &[&str]) -> Arc<Project> {
    let mut text = "name: bounds\nworkflows:\n".to_owned();
    for (index, ordering) in orderings.iter().enumerate() {
        text += &format!(
            "  w{index}:\n    jobs: {{job: {{body: 'fn(s => s)'}}}}\n    triggers: {{bell: {{type: bell, {ordering}}}}}\n    \
             edges: {{e: {{source_trigger: bell, target_job: job}}}}\n"
        );
    }
    Arc::new(read(&text).unwrap_or_else(|mistakes| panic!("{}", shown(&mistakes))).project)
}

/// A shard's state, and the log's next offset.
struct World {
    state: State,
    project: Arc<Project>,
    next: u64,
    /// The lane that a failure held last.
    held: Option<LaneId>,
}

impl World {
    fn with(orderings: &[&str]) -> Self {
        let project = project(orderings);
        let current = Arc::clone(&project);
        let projects = Arc::new(move |_, _: Option<&_>| Some(Arc::clone(&current)));
        let state = State::open(SHARD, Rows::memory(Tag::Watermark), projects).unwrap();
        let mut world = Self { state, project: Arc::clone(&project), next: 0, held: None };
        world.ask(Command::Apply(Apply { file: Bytes::new(), made: vec![], project }));
        world
    }

    /// What a turn does with a command, but for the log.
    fn ask(&mut self, command: Command) -> Answer {
        let mut events = Vec::new();
        let answer = decide(&self.state, command, NOW, Offset(self.next), &mut events).unwrap();
        for kind in events {
            if let EventKind::Held(held) = &kind {
                self.held = Some(held.lane);
            }
            let place = Place { shard: SHARD, offset: Offset(self.next) };
            self.state.apply(&Event { place, at: NOW, kind }).unwrap();
            self.next += 1;
        }
        answer
    }

    fn trigger(&self, workflow: usize) -> (TriggerId, WorkflowId) {
        let workflow = &self.project.workflows[workflow];
        (workflow.triggers[0].id, workflow.id)
    }

    /// The lane of a key.
    fn lane(&self, workflow: usize, key: u64) -> LaneId {
        let workflow = &self.project.workflows[workflow];
        lane_of(workflow, &workflow.triggers[0], Some(key), 0)
    }

    fn receive(&mut self, workflow: usize, key: Option<u64>) -> Answer {
        self.ask(Command::Receive(Input {
            trigger: self.trigger(workflow).0,
            position: Position::None,
            key,
            stream: 0,
            request: Bytes::new(),
            body: Ok(Bytes::from_static(b"{}")),
            follow: None,
            replays: None,
        }))
    }

    /// Receives an input that must be taken.
    fn accepted(&mut self, workflow: usize, key: Option<u64>) -> Offset {
        match self.receive(workflow, key) {
            Answer::Accepted(place) => place.offset,
            other => panic!("{other:?}"),
        }
    }

    fn claim(&mut self, demand: u16) -> Vec<RunClaim> {
        self.claim_within(demand, Permits { project: u32::MAX, workflows: Vec::new() })
    }

    fn claim_within(&mut self, demand: u16, permits: Permits) -> Vec<RunClaim> {
        self.state.prepare_claim().unwrap();
        match self.ask(Command::Claim(Claim { worker: 9, demand, permits })) {
            Answer::Claimed(claims) => claims,
            other => panic!("{other:?}"),
        }
    }

    fn end(&mut self, claim: &RunClaim, state: RunState) {
        let (run, attempt) = (claim.run, claim.attempt);
        let (error, final_state, response, finished) = (None, FinalState::None, Bytes::new(), NOW);
        let end = RunFinished { run, attempt, state, error, final_state, response, finished };
        let report = RunReport { run, attempt, cursor: None, events: vec![EventKind::RunFinished(end)] };
        assert!(matches!(self.ask(Command::Report(report)), Answer::Done));
    }

    /// Asks for another run of a work order without a key.
    fn rerun(&mut self, workflow: usize, work_order: Offset) -> Answer {
        let workflow = self.trigger(workflow).1;
        let lane = LaneId { owner: workflow.0, number: NONE, key: 0 };
        let (project, start, input, origin) = (None, None, StepInput::Run, 1);
        self.ask(Command::Rerun(Rerun {
            work_order,
            workflow,
            lane,
            key: None,
            project,
            start,
            input,
            origin,
        }))
    }

    /// What a restart does.
    fn reopen(&mut self) {
        self.state.commit(Offset(self.next)).unwrap();
        self.state.roll_back().unwrap();
    }
}

fn is_full(answer: &Answer) -> bool {
    matches!(answer, Answer::Refused(Refusal::Full))
}

#[test]
fn a_shard_hands_out_as_many_runs_as_it_may_have_open_and_the_next_one_when_one_has_ended() {
    let mut world = World::with(&["ordering: none"]);
    let offsets: Vec<Offset> = (0..LEASES_MAX + 2).map(|_| world.accepted(0, None)).collect();
    let mut open = Vec::new();
    loop {
        let claims = world.claim(CLAIM_RUNS_MAX);
        if claims.is_empty() {
            break;
        }
        open.extend(claims);
    }
    assert_eq!(open.len(), LEASES_MAX);
    world.reopen();
    assert_eq!(world.claim(1).len(), 0);
    world.end(&open[0], RunState::Success);
    let next = world.claim(CLAIM_RUNS_MAX);
    assert_eq!(next.iter().map(|claim| claim.run.work_order).collect::<Vec<_>>(), [offsets[LEASES_MAX]]);
    assert_eq!(world.claim(1).len(), 0);
}

#[test]
fn an_input_for_one_lane_too_many_is_refused_until_a_lane_is_empty() {
    let workflows = LANES_MAX / usize::from(ORDERING_PARTITIONS);
    let mut world = World::with(&vec!["ordering: key"; workflows + 1]);
    for workflow in 0..workflows {
        let mut lanes = HashSet::new();
        let mut keys = 0..;
        while lanes.len() < usize::from(ORDERING_PARTITIONS) {
            let key = keys.next();
            if key.is_some_and(|key| lanes.insert(world.lane(workflow, key))) {
                world.accepted(workflow, key);
            }
        }
    }
    assert!(is_full(&world.receive(workflows, Some(1))));
    assert!(matches!(world.receive(0, Some(1)), Answer::Accepted(_)), "a lane that is there takes more");
    let claim = world.claim(1)[0];
    world.end(&claim, RunState::Success);
    assert!(matches!(world.receive(workflows, Some(1)), Answer::Accepted(_)));
    assert!(is_full(&world.receive(workflows, Some(2))));
}

/// A shard whose second workflow has ended work orders, and in the first of which a key is blocked with more behind it
/// than is set aside, and one of another key at the end.
struct Blocked {
    world: World,
    lane: LaneId,
    ended: Vec<Offset>,
    behind: Vec<Offset>,
    beside: Offset,
}

impl Blocked {
    fn new(ended: usize) -> Self {
        let mut world = World::with(&["ordering: key, on_failure: block_key", "ordering: none"]);
        let mut all = Vec::new();
        for _ in 0..ended.div_ceil(usize::from(CLAIM_RUNS_MAX)) {
            all.extend((0..CLAIM_RUNS_MAX).map(|_| world.accepted(1, None)));
            world.claim(CLAIM_RUNS_MAX).iter().for_each(|claim| world.end(claim, RunState::Success));
        }
        world.accepted(0, Some(BLOCKED));
        let claim = world.claim(1)[0];
        world.end(&claim, RunState::Failed);
        let behind = (0..SET_ASIDE_MAX + LANE_FRONT_ENTRIES_MAX).map(|_| world.accepted(0, Some(BLOCKED)));
        let behind = behind.collect();
        let shared = world.lane(0, BLOCKED);
        let neighbour = (BLOCKED + 1..).find(|key| world.lane(0, *key) == shared);
        let beside = world.accepted(0, neighbour);
        let lane = world.held.unwrap();
        let mut blocked = Self { world, lane, ended: all, behind, beside };
        for _ in 0..2 * SET_ASIDE_MAX / LANE_FRONT_ORDERED_MAX {
            assert!(blocked.claim().is_empty(), "the last one waits until all before it are set aside");
        }
        blocked
    }

    /// The work orders of the first workflow that a claim hands out; they end at once.
    fn claim(&mut self) -> Vec<Offset> {
        let other = self.world.trigger(1).1;
        let permits = Permits { project: u32::MAX, workflows: vec![(other, 0)] };
        let claims = self.world.claim_within(2, permits);
        claims.iter().for_each(|claim| self.world.end(claim, RunState::Success));
        claims.iter().map(|claim| claim.run.work_order).collect()
    }
}

#[test]
fn what_is_behind_a_blocked_key_is_set_aside_up_to_a_bound_and_then_runs_in_its_order() {
    let mut blocked = Blocked::new(0);
    blocked.world.reopen();
    assert!(blocked.claim().is_empty(), "nor after a restart");
    let go_on = Command::Release(Release { lane: blocked.lane, skip: true });
    assert!(matches!(blocked.world.ask(go_on), Answer::Done));
    let mut ran = Vec::new();
    while !ran.contains(&blocked.beside) {
        let claimed = blocked.claim();
        assert!(!claimed.is_empty(), "{} of {} ran", ran.len(), blocked.behind.len());
        ran.extend(claimed);
    }
    assert!(ran.len() > LANE_FRONT_ENTRIES_MAX, "it came when all before it was set aside, not before");
    ran.retain(|offset| *offset != blocked.beside);
    assert_eq!(ran, blocked.behind[..ran.len()]);
}

#[test]
fn a_rerun_too_many_is_refused_until_another_one_has_begun() {
    let mut blocked = Blocked::new(REQUEUED_MAX - SET_ASIDE_MAX + 1);
    let Blocked { world, ended, .. } = &mut blocked;
    for offset in &ended[..REQUEUED_MAX - SET_ASIDE_MAX] {
        assert!(matches!(world.rerun(1, *offset), Answer::Run(_)));
    }
    let last = *ended.last().unwrap();
    assert!(is_full(&world.rerun(1, last)));
    world.reopen();
    assert!(is_full(&world.rerun(1, last)), "nor after a restart");
    assert_eq!(world.claim(1)[0].run.work_order, ended[0]);
    assert!(matches!(world.rerun(1, last), Answer::Run(_)));
}
