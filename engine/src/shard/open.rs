//! How a shard comes up: rows, then the events that the log has beyond them, then the mark of a new boot.

use std::{fmt, sync::Arc};

use keyway_storage::{
    block::Block,
    error::{AppendError, CommitError, Damage, ReadError},
    event::{EventKind, Opened},
    log::{Log, LogReader},
    place::{Offset, ShardId, Timestamp},
    rows::Rows,
};

use super::{Clock, Shard, ShardReader, time::ShardTime};
use crate::{
    catalog::Catalog,
    command::{Answer, Command, Receipt},
    decide::reconcile,
    follow::Follows,
    mailbox::Bell,
    permit::PermitPool,
    project::Project,
    projection::Views,
    refold::restore,
    source::{Batch, Positions, Source},
    state::{Origins, Projects, State},
    stats::Stats,
};

/// Why a shard stopped. The process ends, and recovers when it is started again.
#[derive(Debug)]
pub enum Fatal {
    /// A write failed, so nobody knows what the disk holds.
    Append(AppendError),
    /// Rows could not be written.
    Commit(CommitError),
    /// The log or the rows cannot be read.
    Read(ReadError),
}

impl fmt::Display for Fatal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Append(error) => error.fmt(f),
            Self::Commit(error) => error.fmt(f),
            Self::Read(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for Fatal {}

impl From<AppendError> for Fatal {
    fn from(error: AppendError) -> Self {
        Self::Append(error)
    }
}

impl From<CommitError> for Fatal {
    fn from(error: CommitError) -> Self {
        Self::Commit(error)
    }
}

impl From<ReadError> for Fatal {
    fn from(error: ReadError) -> Self {
        Self::Read(error)
    }
}

impl From<Damage> for Fatal {
    fn from(damage: Damage) -> Self {
        Self::Read(damage.into())
    }
}

/// Executes nothing.
struct Nobody;

impl Source for Nobody {
    fn tune(&mut self, _: &Arc<Project>, _: &dyn Positions) {}

    fn offer(&mut self, _: Timestamp, _: &mut Batch) {}

    fn release(&mut self, receipts: &mut Vec<Receipt>) {
        receipts.clear();
    }
}

/// What a shard is made of.
pub struct ShardSetup {
    /// Which shard.
    pub id: ShardId,
    /// Its log.
    pub log: Box<dyn Log>,
    /// What deciding reads.
    pub state: Rows,
    /// What people read.
    pub views: Rows,
    /// The projects of all shards.
    pub catalog: Arc<Catalog>,
    /// The permits of all shards.
    pub permits: Arc<PermitPool>,
    /// Wakes it.
    pub bell: Arc<Bell>,
    /// Its clock.
    pub clock: Clock,
    /// Its counters.
    pub stats: Arc<Stats>,
}

impl Shard {
    /// Opens a shard: folds what the log has beyond the rows, and notes the boot in the log.
    pub fn open(mut setup: ShardSetup) -> Result<Self, Fatal> {
        let reader = setup.log.reader();
        setup.catalog.add_shard(setup.id, reader.clone());
        let catalog = Arc::clone(&setup.catalog);
        let id = setup.id;
        let projects: Projects = Arc::new(move |offset, applied| match applied {
            Some(applied) => Some(catalog.load(id, offset, applied)),
            None => catalog.get(id, offset),
        });
        let base = setup.state.base()?.map(|base| base.reader());
        restore(&mut setup.state, base, setup.log.live().first)?;
        let mut state = State::open(id, setup.state, projects)?;
        state.read_origins(origins(reader.clone()));
        setup.permits.keyring.add_shard(id, state.reader());
        let time = ShardTime::new((setup.clock)(), last_time(&reader, setup.log.live().end)?);
        let mut shard = Self {
            id,
            block: Block::new(id),
            reader,
            state,
            views: Views::open(setup.views),
            sources: Vec::new(),
            waits_for_permits: setup.permits.register(Arc::clone(&setup.bell)),
            log: setup.log,
            catalog: setup.catalog,
            permits: setup.permits,
            follows: Follows::default(),
            callers: Vec::new(),
            keys: Vec::new(),
            bell: setup.bell,
            clock: setup.clock,
            stats: setup.stats,
            batch: Batch::default(),
            decided: Vec::new(),
            events: Vec::new(),
            receipts: Vec::new(),
            time,
            full_until: None,
            sweep: Default::default(),
            projects: true,
        };
        shard.refold()?;
        shard.permits.restore(&shard.state);
        shard.permits.keyring.note_rows(&shard.state.reader())?;
        shard.stats.note_tail(shard.log.live().end);
        shard.stats.note_turn(shard.log.live().end, shard.views.watermark());
        shard.note_boot()?;
        Ok(shard)
    }

    /// Gives the shard its sources, the one that executes runs last.
    pub fn connect(&mut self, sources: Vec<Box<dyn Source>>) {
        self.receipts = sources.iter().map(|_| Vec::new()).collect();
        self.sources = sources;
        self.tune();
        // A project may have come into force since the last turn.
        self.sweep.wake();
    }

    /// Lets a source offer all that it has, before the shard has its own sources. Durable on return.
    pub fn settle(&mut self, source: Box<dyn Source>) -> Result<(), Fatal> {
        // The last one would execute runs.
        self.connect(vec![source, Box::new(Nobody)]);
        while self.turn_now()? {}
        Ok(())
    }

    /// Reads this shard from other threads.
    pub fn reader(&self) -> ShardReader {
        ShardReader {
            shard: self.id,
            log: self.reader.clone(),
            state: self.state.reader(),
            views: self.views.reader(),
            stats: Arc::clone(&self.stats),
        }
    }

    /// What deciding reads, for those who set the shard up.
    pub fn current(&self) -> &State {
        &self.state
    }

    /// Decides one command before the shard has sources. Durable on return.
    pub fn request(&mut self, command: Command) -> Result<Answer, Fatal> {
        let now = self.now();
        self.block.begin(self.log.live().end, now);
        let answer = self.decide_one(command, now)?;
        if !self.block.is_empty() {
            self.append()?;
        }
        self.commit(now)?;
        self.project(now)?;
        Ok(answer)
    }

    /// Opens the state anew from what is committed, and folds what the log has beyond it.
    pub(super) fn reopen(&mut self) -> Result<(), Fatal> {
        self.state.roll_back()?;
        self.refold()
    }

    fn refold(&mut self) -> Result<(), Fatal> {
        let mut watermark = self.state.watermark();
        for block in self.reader.blocks(watermark) {
            let block = block?;
            for event in block.events(watermark) {
                self.state.apply(&event?)?;
            }
            watermark = block.span().end;
            match self.state.commit(watermark) {
                // Kept in memory until there is room.
                Ok(()) | Err(CommitError::Full) => {}
                Err(error) => return Err(error.into()),
            }
        }
        // What ended before is not news to anyone.
        self.state.drain_freed().for_each(drop);
        self.state.drain_stops().for_each(drop);
        self.state.drain_intake().for_each(drop);
        Ok(())
    }

    fn note_boot(&mut self) -> Result<(), Fatal> {
        let now = self.now();
        self.block.begin(self.log.live().end, now);
        let boot = self.state.boots() + 1;
        self.decided.push(EventKind::Opened(Opened { boot }));
        reconcile(&self.state, &mut self.decided)?;
        self.apply_decided(now)?;
        match self.append() {
            Ok(()) => {}
            Err(AppendError::Full { .. }) => {
                self.events.clear();
                self.set_full(now);
                return self.reopen();
            }
            Err(error) => return Err(error.into()),
        }
        self.commit(now)?;
        self.project(now)
    }
}

/// When the last event of a log was, which ends there; 1970 if there is none.
pub fn last_time(reader: &LogReader, end: Offset) -> Result<Timestamp, ReadError> {
    if end == Offset(0) {
        return Ok(Timestamp(0));
    }
    Ok(reader.block(Offset(end.0 - 1))?.map_or(Timestamp(0), |block| block.at()))
}

/// Reads triggers from a shard's log.
fn origins(reader: LogReader) -> Origins {
    Box::new(move |work_order| {
        Ok(match reader.event(work_order)?.map(|event| event.kind) {
            Some(EventKind::Received(received)) => Some(received.trigger),
            _ => None,
        })
    })
}
