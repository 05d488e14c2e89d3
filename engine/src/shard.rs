//! A shard: one log, its rows, its sources, and the turn that moves all of them.
//!
//! Invariant: whatever a source is told was durable before; whatever is in the rows is the fold of the log.

mod ahead;
mod callers;
mod cut;
mod open;
mod reader;
mod refuse;
mod sweep;
mod time;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Instant,
};

use keyway_storage::{
    block::Block,
    error::{AppendError, CommitError},
    event::{Event, EventKind, TriggerId},
    limits::{FULL_DISK_RETRY_MS, VIEW_EVENTS_PER_TURN_MAX},
    log::{Log, LogReader},
    place::{Offset, Place, ShardId, Timestamp},
};

use crate::{
    catalog::Catalog,
    command::{Answer, Claim, Command, Input, Receipt, Refusal, Ticket},
    decide::decide,
    follow::{Follower, Follows},
    keyring::{self, HeldKey},
    mailbox::{Bell, pause},
    permit::PermitPool,
    projection::Views,
    source::{Batch, Source},
    state::State,
    stats::{Health, Stats},
};

use callers::Caller;
use sweep::Sweep;
use time::ShardTime;

pub use open::{Fatal, ShardSetup, last_time};
pub use reader::ShardReader;

/// The answer to what cannot be done now.
const REFUSED: Answer = Answer::Refused(Refusal::Full);

/// The clock of a shard, brought in so that tests can turn it by hand.
pub type Clock = Box<dyn FnMut() -> Timestamp + Send>;

/// One shard. Touched by one thread.
pub struct Shard {
    id: ShardId,
    log: Box<dyn Log>,
    reader: LogReader,
    state: State,
    views: Views,
    /// The last one executes runs, so that it can claim what the others brought in the same turn.
    sources: Vec<Box<dyn Source>>,
    catalog: Arc<Catalog>,
    permits: Arc<PermitPool>,
    waits_for_permits: Arc<AtomicBool>,
    follows: Follows,
    callers: Vec<Caller>,
    /// Keys that this shard holds until its rows are committed.
    keys: Vec<HeldKey>,
    bell: Arc<Bell>,
    clock: Clock,
    stats: Arc<Stats>,
    batch: Batch,
    block: Block,
    decided: Vec<EventKind>,
    events: Vec<Event>,
    receipts: Vec<Vec<Receipt>>,
    time: ShardTime,
    full_until: Option<Timestamp>,
    sweep: Sweep,
    /// Whether the views follow the log.
    projects: bool,
}

impl Shard {
    /// Turns until the bell says stop. What fails is answered by `refuse_until_stopped`, which is to be called then.
    pub fn run(&mut self) -> Result<(), Fatal> {
        self.bell.attach();
        self.stats.set_health(Health::Ready);
        while !self.bell.is_stopped() {
            self.bell.clear();
            match self.turn_now() {
                Ok(true) => {}
                Ok(false) => self.bell.wait(pause(self.time.log, self.due())),
                Err(fatal) => return self.fall(fatal),
            }
        }
        // What came in before the bell still gets its turn.
        if let Err(fatal) = self.turn_now() {
            return self.fall(fatal);
        }
        self.stats.set_health(Health::Stopped);
        Ok(())
    }

    /// Leaves the views as they are from now on, to measure what they cost. The next opening makes up for it.
    pub fn leave_views(&mut self) {
        self.projects = false;
    }

    /// A turn at the time that its clock shows.
    pub fn turn_now(&mut self) -> Result<bool, Fatal> {
        let now = self.now();
        self.turn(now)
    }

    /// One turn: collect, decide, append, release, project. Returns whether anything happened.
    pub fn turn(&mut self, now: Timestamp) -> Result<bool, Fatal> {
        self.collect(now);
        if self.is_full(now) {
            return self.refuse_all(now);
        }
        let worked = self.decide_all(now)?;
        self.run_ahead(now)?;
        if !self.block.is_empty() {
            match self.append() {
                Err(AppendError::Full { .. }) => return self.roll_back(now),
                appended => appended?,
            }
        }
        self.release()?;
        self.commit(now)?;
        self.project(now)?;
        let swept = self.sweep(now)?;
        Ok(worked || swept)
    }

    fn collect(&mut self, now: Timestamp) {
        for (origin, source) in self.sources.iter_mut().enumerate() {
            self.batch.set_origin(origin);
            source.note_wall(self.time.wall);
            source.offer(now, &mut self.batch);
        }
    }

    fn decide_all(&mut self, now: Timestamp) -> Result<bool, Fatal> {
        self.block.begin(self.log.live().end, now);
        if self.state.due() <= now {
            self.decide_one(Command::Advance, now)?;
        }
        self.decided.extend(self.sweep.drain_events());
        self.apply_decided(now)?;
        let worked = self.decide_batch(now)?;
        Ok(worked || !self.block.is_empty())
    }

    fn decide_batch(&mut self, now: Timestamp) -> Result<bool, Fatal> {
        let (mut worked, mut stopped, mut failed) = (false, Vec::new(), None);
        self.follows.begin();
        let mut batch = std::mem::take(&mut self.batch);
        for (origin, ticket, mut command) in batch.drain() {
            worked |= !matches!(command, Command::Claim(_));
            let follow = match &mut command {
                Command::Receive(input) => input.follow.take(),
                _ => None,
            };
            let stream = stream_of(&command);
            // What follows a refused input of the same stream would make it look like one that was here before.
            let refused = stream.is_some_and(|stream| stopped.contains(&stream));
            // Whatever was offered gets an answer, even where the shard fails in the middle of it.
            let refused = refused || failed.is_some() || follow.is_some() && !self.has_room_for_caller();
            let decided = if refused { Ok(REFUSED) } else { self.decide_one(command, now) };
            let answer = decided.unwrap_or_else(|fatal| {
                failed = Some(fatal);
                REFUSED
            });
            if matches!(answer, Answer::Refused(_)) {
                stopped.extend(stream);
            }
            if let Some(follow) = follow {
                self.note_caller(&answer, now, Follower { origin, ticket, follow });
            }
            self.receipts[origin].push(Receipt { ticket, at: now, answer });
        }
        self.batch = batch;
        failed.map_or(Ok(worked), Err)
    }

    fn decide_one(&mut self, command: Command, now: Timestamp) -> Result<Answer, Fatal> {
        let next = self.block.next();
        let answer = match command {
            Command::Claim(claim) => self.decide_claim(claim, now)?,
            Command::Apply(apply) => {
                self.catalog.put(self.id, next, &apply);
                self.permits.keyring.note_project(self.state.project(), &apply.project, now);
                decide(&self.state, Command::Apply(apply), now, next, &mut self.decided)?
            }
            Command::Rebuild => {
                self.stats.note_views_dropped();
                self.views.clear()?;
                Answer::Done
            }
            Command::Receive(input) => self.decide_input(input, now)?,
            command => decide(&self.state, command, now, next, &mut self.decided)?,
        };
        self.apply_decided(now)?;
        Ok(answer)
    }

    /// Takes what was decided into the block and the state, so that the next command sees it.
    fn apply_decided(&mut self, now: Timestamp) -> Result<(), Fatal> {
        for kind in self.decided.drain(..) {
            let place = Place { shard: self.id, offset: self.block.push(&kind) };
            let event = Event { place, at: now, kind };
            self.state.apply(&event)?;
            self.events.push(event);
        }
        Ok(())
    }

    /// Brings in what an input was on another shard, where what orders it is not what makes it the same.
    fn decide_input(&mut self, input: Input, now: Timestamp) -> Result<Answer, Fatal> {
        let command = Command::Receive(input);
        let answer = decide(&self.state, command, now, self.block.next(), &mut self.decided)?;
        let Some(EventKind::Received(received)) = self.decided.last() else { return Ok(answer) };
        match self.permits.keyring.claim(self.id, self.state.project(), received, now)? {
            keyring::Claim::Free => {}
            keyring::Claim::Held(key) => self.keys.push(key),
            keyring::Claim::Elsewhere(other) => {
                self.decided.clear();
                return Ok(other);
            }
        }
        Ok(answer)
    }

    /// Brings in what the limits that span shards allow, and gives back what the claim leaves.
    fn decide_claim(&mut self, mut claim: Claim, now: Timestamp) -> Result<Answer, Fatal> {
        if !self.state.ready() || claim.demand == 0 {
            return Ok(Answer::Claimed(Vec::new()));
        }
        self.state.prepare_claim()?;
        // Before the permits are looked at: one that comes back after the look rings the bell.
        self.waits_for_permits.store(true, Ordering::Release);
        let (demand, permits) = (claim.demand, self.permits.borrow(&self.state, claim.demand));
        claim.permits = permits.clone();
        let answer = decide(&self.state, Command::Claim(claim), now, self.block.next(), &mut self.decided)?;
        let Answer::Claimed(claims) = &answer else { unreachable!("a claim is answered with runs") };
        self.permits.settle(&permits, demand, claims);
        Ok(answer)
    }

    #[expect(clippy::disallowed_methods, reason = "the sync is measured, nothing is decided by it")]
    fn append(&mut self) -> Result<(), AppendError> {
        let started = Instant::now();
        let span = self.log.append(&mut self.block)?;
        assert_eq!(span.len(), self.events.len());
        self.stats.note_append(started.elapsed().as_micros() as u64);
        self.stats.note_tail(span.end);
        Ok(())
    }

    /// Tells everyone what is durable now.
    fn release(&mut self) -> Result<(), Fatal> {
        // Before the sources give back what they reserved: a run is counted twice for a moment, never not at all.
        for (trigger, change) in self.state.drain_intake() {
            self.permits.intake().note(trigger, change);
        }
        self.release_late();
        self.follow_callers()?;
        let mut applied = false;
        let events = std::mem::take(&mut self.events);
        for event in &events {
            applied |= matches!(
                event.kind,
                EventKind::ProjectApplied(_) | EventKind::TriggerSwitched(_) | EventKind::ClockSet(_)
            );
            self.follows.note(event);
            if let EventKind::RunFinished(end) = &event.kind {
                self.release_end(end, event.at);
            }
        }
        self.events = events;
        self.release_stops();
        // Before anyone is told: whoever enabled a trigger finds it enabled.
        if applied {
            self.tune();
            self.sweep.wake();
        }
        for (source, receipts) in self.sources.iter_mut().zip(&mut self.receipts) {
            if !receipts.is_empty() {
                source.release(receipts);
                receipts.clear();
            }
        }
        self.return_permits();
        Ok(())
    }

    fn release_stops(&mut self) {
        let at = self.time.log;
        let Some(executor) = self.receipts.last_mut() else { return };
        for run in self.state.drain_stops() {
            executor.push(Receipt { ticket: Ticket(u64::MAX), at, answer: Answer::Stop(run) });
        }
    }

    fn return_permits(&mut self) {
        let mut freed = false;
        for workflow in self.state.drain_freed() {
            self.permits.give_back(workflow);
            freed = true;
        }
        if freed {
            self.permits.ring();
        }
    }

    fn tune(&mut self) {
        for source in &mut self.sources {
            source.note_wall(self.time.wall);
            source.tune(self.state.project(), &self.state);
        }
    }

    fn commit(&mut self, now: Timestamp) -> Result<(), Fatal> {
        let end = self.log.live().end;
        match self.state.commit(end) {
            Ok(()) => {
                self.permits.keyring.give_back(self.keys.drain(..));
                Ok(())
            }
            Err(CommitError::Full) => {
                // The log has it all: the rows stay buffered, and nothing more is taken in until there is room.
                self.set_full(now);
                Ok(())
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Brings the views up to the log, as far as one turn may.
    fn project(&mut self, now: Timestamp) -> Result<(), Fatal> {
        let end = self.log.live().end;
        if !self.projects {
            self.events.clear();
        } else if self.views.watermark() == self.block.span().first
            || self.events.is_empty() && self.views.watermark() == end
        {
            for event in &self.events {
                self.views.apply(event)?;
            }
            self.events.clear();
            self.commit_views(end, now)?;
        } else {
            self.events.clear();
            self.catch_up(now)?;
        }
        self.stats.note_turn(end, self.views.watermark());
        Ok(())
    }

    fn catch_up(&mut self, now: Timestamp) -> Result<(), Fatal> {
        if self.views.watermark() < self.log.live().first {
            let watermark = self.views.restore()?;
            return self.commit_views(watermark, now);
        }
        let mut applied = 0;
        let mut watermark = self.views.watermark();
        for block in self.reader.blocks(watermark) {
            let block = block?;
            for event in block.events(watermark) {
                self.views.apply(&event?)?;
                applied += 1;
            }
            watermark = block.span().end;
            if applied >= VIEW_EVENTS_PER_TURN_MAX {
                break;
            }
        }
        self.commit_views(watermark, now)
    }

    fn commit_views(&mut self, watermark: Offset, now: Timestamp) -> Result<(), Fatal> {
        match self.views.commit(watermark) {
            Ok(()) => Ok(()),
            Err(CommitError::Full) => {
                self.views.discard();
                self.set_full(now);
                Ok(())
            }
            Err(error) => Err(error.into()),
        }
    }

    fn now(&mut self) -> Timestamp {
        self.time.pass_to((self.clock)())
    }

    fn due(&self) -> Timestamp {
        let sources = self.sources.iter().map(|source| source.due()).min().unwrap_or(Timestamp::NEVER);
        let full = self.full_until.unwrap_or(Timestamp::NEVER);
        let lags = self.projects && self.views.watermark() < self.log.live().end;
        let is_behind = lags || self.follows.has_late();
        let behind = if is_behind { Timestamp(0) } else { Timestamp::NEVER };
        if self.full_until.is_some() {
            full
        } else {
            sources.min(self.state.due()).min(self.sweep.due()).min(behind)
        }
    }

    fn set_full(&mut self, now: Timestamp) {
        self.full_until = Some(now.plus_millis(FULL_DISK_RETRY_MS));
        self.stats.set_health(Health::Full);
    }

    fn is_full(&mut self, now: Timestamp) -> bool {
        let Some(until) = self.full_until else { return false };
        if now >= until && self.log.has_room() {
            self.full_until = None;
            self.stats.set_health(Health::Ready);
            return false;
        }
        if now >= until {
            self.set_full(now);
        }
        true
    }
}

/// The stream of an input that is part of one.
fn stream_of(command: &Command) -> Option<(TriggerId, u64)> {
    match command {
        Command::Receive(input) if input.stream != 0 => Some((input.trigger, input.stream)),
        _ => None,
    }
}
