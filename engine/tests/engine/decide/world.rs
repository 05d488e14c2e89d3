//! A state in memory, a clock that is turned by hand, and a log that keeps what was decided.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

use bytes::Bytes;
use keyway_engine::{
    command::{Answer, Apply, Claim, Command, Input, Permits, RunClaim, RunReport},
    decide::decide,
    project::{Notifications, OnFailure, Ordering, Project, Trigger, Workflow},
    state::State,
};
use keyway_storage::{
    event::{
        Event, EventKind, FinalState, LaneId, Position, Received, RunFinished, RunState, TriggerId,
        WorkflowId,
    },
    key::Tag,
    place::{Offset, Place, RunKey, ShardId, Timestamp},
    rows::Rows,
};

/// Goes on after a failure.
pub const GOES_ON: TriggerId = TriggerId([1; 16]);
/// Blocks its key after a failure.
pub const BLOCKS: TriggerId = TriggerId([2; 16]);
/// The workflow of both.
pub const WORKFLOW: WorkflowId = WorkflowId(7);
/// When all begins.
pub const NOW: u64 = 1_800_000_000_000_000;

const SHARD: ShardId = ShardId(0);

/// One shard's decisions.
pub struct World {
    /// What deciding reads.
    pub state: State,
    /// What time it is.
    pub now: Timestamp,
    next: u64,
    /// The triggers of what was committed.
    log: Arc<Mutex<HashMap<Offset, TriggerId>>>,
    fresh: Vec<(Offset, TriggerId)>,
}

fn trigger(id: TriggerId, on_failure: OnFailure) -> Trigger {
    Trigger {
        id,
        key: format!("{on_failure:?}"),
        kind: "webhook",
        enabled: true,
        ordering: Ordering::Key,
        on_failure,
        in_flight_max: None,
        cursor: None,
        schedule: None,
        settings: Arc::new(()),
    }
}

fn project(notifications: Notifications) -> Arc<Project> {
    let workflow = Workflow {
        id: WORKFLOW,
        key: "intake".to_owned(),
        name: "Intake".to_owned(),
        concurrency: None,
        retry: Default::default(),
        at_most_once: true,
        run_timeout_ms: 1_000,
        retention: Default::default(),
        jobs: Vec::new(),
        triggers: vec![trigger(GOES_ON, OnFailure::Continue), trigger(BLOCKS, OnFailure::BlockKey)],
        graph: Default::default(),
    };
    Arc::new(Project {
        workflows: vec![workflow],
        by_id: [(WORKFLOW, 0)].into(),
        by_trigger: [(GOES_ON, (0, 0)), (BLOCKS, (0, 1))].into_iter().collect(),
        notifications,
        ..Project::default()
    })
}

impl World {
    /// A shard with the project in force.
    pub fn new() -> Self {
        Self::of(project(Notifications::default()))
    }

    /// The same, where people are not warned of the same again for so long.
    pub fn with_embargo(seconds: u32) -> Self {
        Self::of(project(Notifications { embargo_seconds: seconds, ..Notifications::default() }))
    }

    fn of(project: Arc<Project>) -> Self {
        let current = Arc::clone(&project);
        let projects = Arc::new(move |_, _: Option<&_>| Some(Arc::clone(&current)));
        let mut state = State::open(SHARD, Rows::memory(Tag::Watermark), projects).unwrap();
        let log = Arc::new(Mutex::new(HashMap::new()));
        let read = Arc::clone(&log);
        state.read_origins(Box::new(move |offset| Ok(read.lock().unwrap().get(&offset).copied())));
        let mut world = Self { state, now: Timestamp(NOW), next: 0, log, fresh: Vec::new() };
        world.ask(Command::Apply(Apply { file: Bytes::new(), made: vec![], project }));
        world
    }

    /// Decides a command, and takes in its events.
    pub fn ask(&mut self, command: Command) -> (Answer, Vec<EventKind>) {
        let mut out = Vec::new();
        let answer = decide(&self.state, command, self.now, Offset(self.next), &mut out).unwrap();
        for kind in &out {
            self.apply(kind.clone());
        }
        (answer, out)
    }

    /// Takes an event in, as a start reads it from the log.
    pub fn apply(&mut self, kind: EventKind) -> Offset {
        let offset = Offset(self.next);
        if let EventKind::Received(received) = &kind {
            self.fresh.push((offset, received.trigger));
        }
        self.state.apply(&Event { place: Place { shard: SHARD, offset }, at: self.now, kind }).unwrap();
        self.next += 1;
        offset
    }

    /// Ends the turn: what was decided is in the log, and its rows are committed.
    pub fn commit(&mut self) {
        self.log.lock().unwrap().extend(self.fresh.drain(..));
        self.state.commit(Offset(self.next)).unwrap();
    }

    /// An input with this key: its work order, and the lane in which it waits.
    pub fn receive(&mut self, trigger: TriggerId, key: u64) -> (Offset, LaneId) {
        let input = Input {
            trigger,
            position: Position::None,
            key: Some(key),
            stream: 0,
            request: Bytes::new(),
            body: Ok(Bytes::from_static(b"{}")),
            follow: None,
            replays: None,
        };
        let (answer, events) = self.ask(Command::Receive(input));
        let (Answer::Accepted(place), [EventKind::Received(Received { lane, .. })]) = (&answer, &events[..])
        else {
            panic!("{answer:?}");
        };
        (place.offset, *lane)
    }

    /// All that a worker gets now.
    pub fn claim(&mut self) -> Vec<RunClaim> {
        self.state.prepare_claim().unwrap();
        let permits = Permits { project: u32::MAX, workflows: Vec::new() };
        match self.ask(Command::Claim(Claim { worker: 1, demand: 100, permits })).0 {
            Answer::Claimed(claims) => claims,
            other => panic!("{other:?}"),
        }
    }

    /// The work orders of all that a worker gets now.
    pub fn claimed(&mut self) -> Vec<Offset> {
        self.claim().iter().map(|claim| claim.run.work_order).collect()
    }

    /// Ends a claimed run; gives what was decided.
    pub fn end(&mut self, work_order: Offset, state: RunState) -> Vec<EventKind> {
        let (run, attempt) = (RunKey { work_order, n: 1 }, 1);
        let end = RunFinished {
            run,
            attempt,
            state,
            error: None,
            final_state: FinalState::None,
            response: Bytes::new(),
            finished: self.now,
        };
        self.ask(Command::Report(RunReport { run, attempt, cursor: None, events: vec![end.into()] })).1
    }
}
