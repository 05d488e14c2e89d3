//! Permits: the limits that span shards, as counters that are exact.
//!
//! Invariant: for each limited workflow, and for the project, the permits that are out are the runs that workers have
//! plus what claims under way have borrowed; they never exceed the limit that was in force when they were taken.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicBool, Ordering},
    },
};

use keyway_storage::{event::WorkflowId, limits::CLAIM_WORKFLOWS_MAX};

use crate::{
    command::{Answer, Permits, RunClaim},
    intake::Intake,
    keyring::Keyring,
    mailbox::Bell,
    project::Project,
    state::State,
};

/// The permits of all shards of a process.
#[derive(Default)]
pub struct PermitPool {
    // Touched only by claims of limited workflows, a few times a turn: a lock costs less than it would to avoid it.
    out: Mutex<Out>,
    waiting: Mutex<Vec<(Arc<Bell>, Arc<AtomicBool>)>>,
    intake: Intake,
    /// The idempotency keys that more than one shard may be asked for: each is a permit of one.
    pub keyring: Keyring,
}

#[derive(Default)]
struct Out {
    project: u32,
    workflows: HashMap<WorkflowId, u32>,
}

impl PermitPool {
    /// The counters of what triggers with a bound have open.
    pub fn intake(&self) -> &Intake {
        &self.intake
    }

    /// Counts runs that workers had when the shard's rows were written. Before its first turn.
    pub fn restore(&self, state: &State) {
        self.intake.restore(state);
        let mut out = lock(&self.out);
        for (workflow, runs) in state.open_runs() {
            out.project += runs;
            *out.workflows.entry(workflow).or_default() += runs;
        }
    }

    /// Registers a shard: its flag is set while it waits for permits, and its bell rings when some come back.
    pub fn register(&self, bell: Arc<Bell>) -> Arc<AtomicBool> {
        let waits = Arc::new(AtomicBool::new(false));
        lock(&self.waiting).push((bell, Arc::clone(&waits)));
        waits
    }

    /// Takes as many permits as a claim of `demand` runs may need and the limits leave.
    pub fn borrow(&self, state: &State, demand: u16) -> Permits {
        let project: &Project = state.project();
        let demand = u32::from(demand);
        let mut out = lock(&self.out);
        let mut permits = Permits { project: u32::MAX, workflows: Vec::new() };
        if let Some(limit) = project.concurrency {
            permits.project = demand.min(limit.saturating_sub(out.project));
        }
        out.project += if permits.project == u32::MAX { demand } else { permits.project };
        // Those that have reached their limit stand in nobody's way.
        let mut open = 0;
        for id in state.queue.ready_workflows().take(CLAIM_WORKFLOWS_MAX) {
            if open == demand {
                break;
            }
            let Some(limit) = project.workflow(id).and_then(|workflow| workflow.concurrency) else {
                open += 1;
                continue;
            };
            let taken = out.workflows.entry(id).or_default();
            let granted = demand.min(limit.saturating_sub(*taken));
            *taken += granted;
            open += u32::from(granted > 0);
            permits.workflows.push((id, granted));
        }
        permits
    }

    /// Gives back what a claim did not use.
    pub fn settle(&self, borrowed: &Permits, demand: u16, claims: &[RunClaim]) {
        let mut out = lock(&self.out);
        let granted = if borrowed.project == u32::MAX { u32::from(demand) } else { borrowed.project };
        out.project -= granted - claims.len() as u32;
        for claim in claims {
            // An unlimited workflow's runs are counted too: a limit may come with the next project file.
            if !borrowed.workflows.iter().any(|(id, _)| *id == claim.workflow) {
                *out.workflows.entry(claim.workflow).or_default() += 1;
            }
        }
        for (id, granted) in &borrowed.workflows {
            let used = claims.iter().filter(|claim| claim.workflow == *id).count() as u32;
            *out.workflows.entry(*id).or_default() -= granted - used;
        }
    }

    /// A worker no longer has a run of this workflow.
    pub fn give_back(&self, workflow: WorkflowId) {
        let mut out = lock(&self.out);
        out.project -= 1;
        if let Some(taken) = out.workflows.get_mut(&workflow) {
            *taken -= 1;
            if *taken == 0 {
                out.workflows.remove(&workflow);
            }
        }
    }

    /// Takes back the permits of a claim that was not appended.
    pub fn give_back_claimed(&self, answer: &Answer) {
        if let Answer::Claimed(claims) = answer {
            claims.iter().for_each(|claim| self.give_back(claim.workflow));
        }
    }

    /// Rings the shards that wait for permits.
    pub fn ring(&self) {
        for (bell, waits) in lock(&self.waiting).iter() {
            if waits.swap(false, Ordering::AcqRel) {
                bell.ring();
            }
        }
    }

    /// How many runs workers have.
    pub fn open(&self) -> u32 {
        lock(&self.out).project
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("no holder of this lock panics: it only counts")
}
