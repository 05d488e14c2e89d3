//! The executor as a source: it offers reports first, then a claim for its free slots.

use std::{
    cell::Cell,
    collections::{HashMap, HashSet, VecDeque},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use keyway_storage::{
    event::{EventKind, Received, TriggerId},
    limits::{BATCH_BYTES_MAX, REPORTS_BYTES_MAX, REPORTS_MAX},
    place::{RunKey, ShardId, Timestamp},
};

use super::pool::{Pool, Stage, Task, cancelled};
use crate::{
    command::{Answer, Claim, Command, GiveBack, Permits, Receipt, RunClaim, RunReport, Ticket},
    mailbox::{Bell, Mailbox},
    project::Project,
    source::{Ahead, Batch, Positions, Source},
};

/// What a command was, until its receipt comes back.
enum Pending {
    Report { run: RunKey, last: bool, cursor: Option<TriggerId> },
    Claim { slots: u16 },
}

/// One shard's side of the pool.
pub struct Executor {
    shard: ShardId,
    pool: Arc<Pool>,
    reports: Arc<Mailbox<RunReport>>,
    bell: Arc<Bell>,
    hungry: Arc<AtomicBool>,
    /// Runs with a thread, or on their way to one.
    running: HashMap<RunKey, (RunClaim, Arc<Stage>)>,
    /// Ends of runs that no thread ever began.
    unbegun: VecDeque<RunReport>,
    /// Runs whose end was refused, on a full disk: their leases are as they were, and they are executed again.
    again: Vec<RunClaim>,
    /// Runs of which the log lacks something, because a report on their way was refused: they are executed again too.
    gaps: HashSet<RunKey>,
    /// Runs that no thread will begin, on their way back.
    returned: Vec<GiveBack>,
    pending: VecDeque<Pending>,
    /// A report that did not fit into the last batch.
    held_back: Option<(RunReport, usize)>,
}

impl Executor {
    /// The source of this shard, which `bell` wakes.
    pub fn new(shard: ShardId, pool: Arc<Pool>, bell: &Arc<Bell>) -> Self {
        let reports = Mailbox::new(REPORTS_MAX, REPORTS_BYTES_MAX, Arc::clone(bell));
        let hungry = pool.register(Arc::clone(bell));
        Self {
            shard,
            pool,
            reports,
            bell: Arc::clone(bell),
            hungry,
            running: HashMap::new(),
            unbegun: VecDeque::new(),
            again: Vec::new(),
            gaps: HashSet::new(),
            returned: Vec::new(),
            pending: VecDeque::new(),
            held_back: None,
        }
    }

    fn start(&mut self, claim: RunClaim, input: Option<Received>) {
        let stage = Arc::new(Stage::default());
        self.running.insert(claim.run, (claim, Arc::clone(&stage)));
        let reports = Arc::clone(&self.reports);
        let cursor = Cell::new(None);
        self.pool.send(Task { shard: self.shard, claim, input, stage, cursor, reports });
    }

    /// Starts what was claimed, but for the runs that began ahead of their claim.
    fn start_all(&mut self, claims: &[RunClaim]) {
        for claim in claims {
            let began = self.running.get(&claim.run).is_some_and(|(ahead, _)| ahead.attempt == claim.attempt);
            if !began {
                self.start(*claim, None);
            }
        }
    }

    /// Gives back the slots that a claim did not use.
    fn give_back(&self, slots: usize) {
        if slots == 0 {
            // All were used, so that more runs may wait, and more slots may be free.
            self.bell.ring();
        } else {
            // There was more than enough: nobody need wake this shard for what it gives back itself.
            self.hungry.store(false, Ordering::Release);
            self.pool.give_back(slots);
        }
    }

    fn reported(&mut self, run: RunKey, last: bool, answer: &Answer) {
        if let Answer::Stop(run) = answer {
            self.stop(*run);
        }
        let refused = matches!(answer, Answer::Refused(_));
        if last {
            let ran = self.running.remove(&run);
            self.again.extend(ran.filter(|_| refused).map(|(claim, _)| claim));
        } else if refused {
            self.gaps.insert(run);
        }
    }

    /// Offers again what no thread has begun and none will: it costs no attempt, and nothing is lost by it.
    fn offer_back(&mut self, batch: &mut Batch) {
        let unbegun = self.running.iter().filter(|(_, (_, stage))| stage.take_back());
        self.returned.extend(unbegun.map(|(run, (claim, _))| GiveBack { run: *run, attempt: claim.attempt }));
        while batch.has_room(0)
            && let Some(back) = self.returned.pop()
        {
            self.pending.push_back(Pending::Report { run: back.run, last: true, cursor: None });
            batch.push(Ticket(0), Command::GiveBack(back), 0);
        }
    }

    /// Whether a report continues what the log has; the end of one that does not lets its run be executed again.
    fn continues(&mut self, report: &RunReport, last: bool) -> bool {
        if !self.gaps.contains(&report.run) {
            return true;
        }
        if last {
            self.gaps.remove(&report.run);
            self.again.extend(self.running.remove(&report.run).map(|(claim, _)| claim));
        }
        false
    }

    fn stop(&mut self, run: RunKey) {
        if let Some((claim, stage)) = self.running.get(&run)
            && stage.cancel()
        {
            self.unbegun.push_back(cancelled(claim));
            self.bell.ring();
        }
    }
}

impl Source for Executor {
    fn tune(&mut self, _: &Arc<Project>, _: &dyn Positions) {}

    fn offer(&mut self, _: Timestamp, batch: &mut Batch) {
        while batch.has_room(0) {
            let unbegun = self.unbegun.pop_front().map(|report| (report, 0));
            let next = unbegun.or_else(|| self.held_back.take()).or_else(|| self.reports.take());
            let Some((report, bytes)) = next else { break };
            let bytes = bytes.min(BATCH_BYTES_MAX);
            if !batch.has_room(bytes) {
                self.held_back = Some((report, bytes));
                break;
            }
            let last = matches!(report.events.last(), Some(EventKind::RunFinished(_)));
            let cursor = report.cursor.filter(|_| last).map(|cursor| cursor.trigger);
            if !self.continues(&report, last) {
                cursor.into_iter().for_each(|trigger| self.pool.ends.arrived(trigger));
                continue;
            }
            self.pending.push_back(Pending::Report { run: report.run, last, cursor });
            batch.push(Ticket(0), Command::Report(report), bytes);
        }
        if self.pool.is_stopped() {
            self.offer_back(batch);
        } else if batch.has_room(0) {
            // Before the slots are looked at: one that comes free after the look rings the bell.
            self.hungry.store(true, Ordering::Release);
            let slots = self.pool.reserve();
            if slots > 0 {
                self.pending.push_back(Pending::Claim { slots });
                let claim = Claim { worker: 0, demand: slots, permits: Permits::default() };
                batch.push(Ticket(0), Command::Claim(claim), 0);
            }
        }
    }

    fn run_ahead(&mut self, runs: Vec<Ahead>) -> Duration {
        for Ahead { claim, input } in runs {
            self.start(claim, input);
        }
        self.pool.patience()
    }

    fn release(&mut self, receipts: &mut Vec<Receipt>) {
        for receipt in receipts.drain(..) {
            if receipt.ticket == Ticket(u64::MAX) {
                if let Answer::Stop(run) = receipt.answer {
                    self.stop(run);
                }
                continue;
            }
            match (self.pending.pop_front().expect("one receipt per command, in order"), receipt.answer) {
                (Pending::Claim { slots }, Answer::Claimed(mut claims)) => {
                    let spare = usize::from(slots) - claims.len();
                    claims.extend(self.again.drain(..spare.min(self.again.len())));
                    self.start_all(&claims);
                    self.give_back(usize::from(slots) - claims.len());
                }
                (Pending::Claim { slots }, _) => self.give_back(usize::from(slots)),
                (Pending::Report { run, last, cursor }, answer) => {
                    self.reported(run, last, &answer);
                    cursor.into_iter().for_each(|trigger| self.pool.ends.arrived(trigger));
                }
            }
        }
    }
}
