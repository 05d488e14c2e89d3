//! Which runs a worker gets: workflows take turns, then their lanes, within the limits.

use std::{collections::HashSet, sync::Arc};

use keyway_storage::{
    event::{ClaimedRun, EventKind, LaneId, RunsClaimed, WorkflowId},
    limits::{CLAIM_RUNS_MAX, CLAIM_WORKFLOWS_MAX, LEASE_GRACE_MS, LEASES_MAX, REPLAY_RUNS_BUSY_MAX},
    place::{Offset, RunKey, Timestamp},
};

use crate::{
    command::{Answer, Claim, Permits, RunClaim},
    project::Project,
    queue::lane::{Lane, REPLAYED, Waiting, width},
    state::State,
};

/// Leases waiting runs to a worker, as many as it asks for and the permits allow.
pub fn claim(state: &State, claim: Claim, now: Timestamp, out: &mut Vec<EventKind>) -> Answer {
    let room = LEASES_MAX.saturating_sub(state.lease_count());
    let demand = usize::from(claim.demand.min(CLAIM_RUNS_MAX)).min(room);
    let (permits, is_busy, room_aside) = (claim.permits, state.is_busy(now), state.queue.room_aside());
    let mut picks = Picks { state, permits, is_busy, room_aside, diverted: Vec::new() };
    let picked = picks.pick(demand);
    if picked.is_empty() && picks.diverted.is_empty() {
        return Answer::Claimed(Vec::new());
    }
    let mut until = Timestamp(0);
    let mut runs = Vec::with_capacity(picked.len());
    let mut claims = Vec::with_capacity(picked.len());
    for (lane, waiting) in picked {
        let run = RunKey { work_order: waiting.offset, n: waiting.row.n };
        let attempt = waiting.row.attempts + 1;
        let workflow = WorkflowId(lane.owner);
        let version = version_of(state, claim.worker, waiting);
        let timeout_ms = version.workflow(workflow).map_or(60_000, |workflow| workflow.run_timeout_ms);
        let lease_until = now.plus_millis(timeout_ms + LEASE_GRACE_MS);
        until = until.max(lease_until);
        runs.push(ClaimedRun { run, attempt, lane });
        claims.push(RunClaim {
            run,
            attempt,
            workflow,
            requested: waiting.row.requested,
            until: lease_until,
        });
    }
    let diverted = picks.diverted;
    out.push(EventKind::RunsClaimed(RunsClaimed { worker: claim.worker, until, runs, diverted }));
    Answer::Claimed(claims)
}

/// The project that says how long a waiting run may take: that which it was made for.
fn version_of(state: &State, worker: u32, waiting: Waiting) -> Arc<Project> {
    let asked = waiting.row.requested.unwrap_or(waiting.offset);
    // Most often the one in force. And the executor of this process keeps to the run's own limit by itself: its leases do
    // not run out, and nothing is read for them.
    let is_in_force = worker == 0 || state.project_at().is_some_and(|applied| asked > applied);
    let read = if is_in_force { None } else { state.project_of(asked) };
    read.unwrap_or_else(|| Arc::clone(state.project()))
}

struct Picks<'a> {
    state: &'a State,
    permits: Permits,
    is_busy: bool,
    /// How many runs of held keys may still be set aside.
    room_aside: usize,
    diverted: Vec<(LaneId, Offset)>,
}

type Candidates<'a> = Vec<(WorkflowId, Box<dyn Iterator<Item = (LaneId, Waiting)> + 'a>)>;

impl<'a> Picks<'a> {
    /// One run of each workflow in turn, until the demand is met or nothing is left.
    fn pick(&mut self, demand: usize) -> Vec<(LaneId, Waiting)> {
        let mut candidates = self.candidates(demand);
        let mut picked = Vec::new();
        while picked.len() < demand && !candidates.is_empty() {
            candidates.retain_mut(|(workflow, runs)| {
                if picked.len() == demand || !self.permits.allows(*workflow) {
                    return false;
                }
                let Some(run) = runs.next() else { return false };
                self.permits.use_one(*workflow);
                picked.push(run);
                true
            });
        }
        picked
    }

    fn candidates(&mut self, demand: usize) -> Candidates<'a> {
        let queue = &self.state.queue;
        let mut candidates: Candidates<'a> = Vec::new();
        let spent = self.permits.spent();
        let ready = queue.ready_workflows().take(CLAIM_WORKFLOWS_MAX);
        for workflow in ready.filter(|workflow| !spent.contains(workflow)).take(demand) {
            let mut runs = Vec::new();
            for (id, lane) in queue.ready_lanes(workflow) {
                if runs.len() >= demand {
                    break;
                }
                self.lane_candidates(id, lane, demand - runs.len(), &mut runs);
            }
            candidates.push((workflow, Box::new(runs.into_iter())));
        }
        candidates
    }

    fn lane_candidates(&mut self, id: LaneId, lane: &Lane, most: usize, runs: &mut Vec<(LaneId, Waiting)>) {
        let width = match id.number {
            REPLAYED if self.is_busy => REPLAY_RUNS_BUSY_MAX,
            _ => width(id),
        };
        let free = width.saturating_sub(lane.busy) as usize;
        let most = free.min(most);
        let mut found = 0;
        let mut passed = None;
        for waiting in lane.waiting() {
            if found == most {
                break;
            }
            let gone = !waiting.again && self.state.queue.is_gone(waiting.offset);
            let diverted = !gone && !waiting.again && self.state.queue.is_diverted(id, waiting.row.key);
            if diverted && self.room_aside == 0 {
                // Nothing is set aside, but from now on the lane waits for room and is in nobody's way.
                passed = if found == 0 { Some(waiting.offset) } else { None };
                break;
            }
            self.room_aside -= usize::from(diverted);
            if gone || diverted {
                // Those behind a run that is taken are passed when they are first.
                passed = if found == 0 { Some(waiting.offset.advance(1)) } else { passed };
            } else {
                runs.push((id, waiting));
                found += 1;
            }
        }
        if let Some(end) = passed {
            self.diverted.push((id, end));
        }
    }
}

impl Permits {
    /// Whether another run of this workflow may be started.
    pub fn allows(&self, workflow: WorkflowId) -> bool {
        let own = self.workflows.iter().find(|(id, _)| *id == workflow);
        self.project > 0 && own.is_none_or(|(_, left)| *left > 0)
    }

    /// The workflows that have reached their limit.
    fn spent(&self) -> HashSet<WorkflowId> {
        self.workflows.iter().filter(|(_, left)| *left == 0).map(|(id, _)| *id).collect()
    }

    fn use_one(&mut self, workflow: WorkflowId) {
        if self.project != u32::MAX {
            self.project -= 1;
        }
        if let Some((_, left)) = self.workflows.iter_mut().find(|(id, _)| *id == workflow) {
            *left -= 1;
        }
    }
}
