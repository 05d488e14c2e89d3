//! All replays of the process: they begin, stop for a while, go on and end.
//!
//! Invariant: the first shard is asked last and says whether a replay is there; what a crash left half said on the
//! others is put right at the next start. A replay has at most one thread.

use std::{
    collections::HashMap,
    fmt, io,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
};

use bytes::Bytes;
use keyway_engine::{
    admin::{AdminPort, AskError},
    catalog::Catalog,
    command::{Answer, Command, Refusal, ReplayEnd, ReplayId, ReplayWish},
    replay::ReplayPort,
    shard::ShardReader,
    view::replay::{ReplayRows, replay, replays},
};
use keyway_storage::{
    error::ReadError,
    limits::REPLAYS_RUNNING_MAX,
    routes::Routes,
    table::{ReplayRow, ReplayState},
};

use super::runner::Runner;

/// What replays read, and where their items go; all by shard, in order.
pub struct Site {
    /// All shards.
    pub readers: Vec<ShardReader>,
    /// The way of people's requests to each shard.
    pub ports: Vec<AdminPort>,
    /// The way of replayed items to each shard.
    pub ways: Vec<ReplayPort>,
    /// Which shard owns what.
    pub routes: Routes,
    /// The projects of all shards.
    pub catalog: Arc<Catalog>,
}

/// All replays of the process.
pub struct Replays {
    site: Arc<Site>,
    /// Held while something is asked of all shards.
    threads: Mutex<HashMap<ReplayId, Thread>>,
}

struct Thread {
    stop: Arc<AtomicBool>,
    handle: JoinHandle<()>,
}

/// Why a replay was not moved.
#[derive(Debug)]
pub enum ReplayError {
    /// As many go on as may.
    Enough,
    /// A shard refused.
    Refused(Refusal),
    /// A shard did not answer.
    Asked(AskError),
    /// Something could not be read.
    Read(ReadError),
    /// No thread could be started.
    Thread(io::Error),
}

impl fmt::Display for ReplayError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Enough => write!(f, "{REPLAYS_RUNNING_MAX} replays go on. Try again when one has ended."),
            Self::Refused(refusal) => write!(f, "A shard refused: {refusal:?}."),
            Self::Asked(error) => error.fmt(f),
            Self::Read(error) => error.fmt(f),
            Self::Thread(error) => write!(f, "No thread can be started: {error}."),
        }
    }
}

impl std::error::Error for ReplayError {}

impl From<ReadError> for ReplayError {
    fn from(error: ReadError) -> Self {
        Self::Read(error)
    }
}

impl Replays {
    /// No replay goes on yet.
    pub fn new(site: Site) -> Self {
        Self { site: Arc::new(site), threads: Mutex::default() }
    }

    /// Puts right what a crash left half said, and lets go on what went on before.
    pub fn take_up(&self) -> Result<(), ReplayError> {
        let mut threads = self.lock();
        for (id, rows) in replays(&self.settled())? {
            if let Some(end) = end_of(&rows) {
                self.end_open(id, &rows, &end)?;
            } else if let Some(head) = rows.first().and_then(Option::as_ref).filter(|head| head.is_open()) {
                let paused = head.state == ReplayState::Paused;
                for (shard, row) in rows.iter().enumerate().skip(1) {
                    if row.as_ref().is_some_and(|row| row.is_open() && row.state != head.state) {
                        self.ask(shard, ReplayWish::Pause { id, paused })?;
                    }
                }
            }
            if state_of(&replay(&self.settled(), id)?) == Some(ReplayState::Running) {
                self.start(&mut threads, id)?;
            }
        }
        Ok(())
    }

    /// Begins a replay.
    pub fn begin(&self, id: ReplayId, filter: &Bytes) -> Result<(), ReplayError> {
        let mut threads = self.lock();
        self.check_room(&mut threads)?;
        let begun = self.ask_all(|| ReplayWish::Begin { id, filter: filter.clone() });
        if begun.is_err() {
            // What began on some shards must not stay open; what cannot be said now is said at the next start.
            let _ = self.ask_all(|| ReplayWish::End { id, round: None, end: ReplayEnd::Cancelled });
        }
        begun?;
        self.start(&mut threads, id)
    }

    /// Stops a replay for a while: nothing of it goes through when this returns.
    pub fn pause(&self, id: ReplayId) -> Result<(), ReplayError> {
        let mut threads = self.lock();
        self.ask_open(id, || ReplayWish::Pause { id, paused: true })?;
        stop(&mut threads, id);
        Ok(())
    }

    /// Lets a replay go on.
    pub fn resume(&self, id: ReplayId) -> Result<(), ReplayError> {
        let mut threads = self.lock();
        if threads.get(&id).is_some_and(|thread| !thread.handle.is_finished()) {
            return Ok(());
        }
        self.check_room(&mut threads)?;
        self.ask_open(id, || ReplayWish::Pause { id, paused: false })?;
        self.start(&mut threads, id)
    }

    /// Ends a replay: nothing of it goes through when this returns.
    pub fn cancel(&self, id: ReplayId) -> Result<(), ReplayError> {
        let mut threads = self.lock();
        self.ask_open(id, || ReplayWish::End { id, round: None, end: ReplayEnd::Cancelled })?;
        stop(&mut threads, id);
        Ok(())
    }

    /// Stops all threads; what goes on is taken up at the next start.
    pub fn close(&self) {
        let mut threads = self.lock();
        let ids: Vec<_> = threads.keys().copied().collect();
        ids.into_iter().for_each(|id| stop(&mut threads, id));
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<ReplayId, Thread>> {
        self.threads.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn settled(&self) -> Vec<ShardReader> {
        self.site.readers.iter().map(ShardReader::settled).collect()
    }

    fn check_room(&self, threads: &mut HashMap<ReplayId, Thread>) -> Result<(), ReplayError> {
        threads.retain(|_, thread| !thread.handle.is_finished());
        if threads.len() < REPLAYS_RUNNING_MAX { Ok(()) } else { Err(ReplayError::Enough) }
    }

    fn start(&self, threads: &mut HashMap<ReplayId, Thread>, id: ReplayId) -> Result<(), ReplayError> {
        stop(threads, id);
        let stop = Arc::new(AtomicBool::new(false));
        let runner = Runner { id, site: Arc::clone(&self.site), stop: Arc::clone(&stop) };
        let builder = thread::Builder::new().name("replay".to_owned());
        let handle = builder.spawn(move || runner.run()).map_err(ReplayError::Thread)?;
        threads.insert(id, Thread { stop, handle });
        Ok(())
    }

    fn ask(&self, shard: usize, wish: ReplayWish) -> Result<(), ReplayError> {
        match self.site.ports[shard].ask(Command::Replay(wish)).map_err(ReplayError::Asked)? {
            Answer::Refused(refusal) => Err(ReplayError::Refused(refusal)),
            _ => Ok(()),
        }
    }

    /// Asks all shards, the first one last.
    fn ask_all(&self, wish: impl Fn() -> ReplayWish) -> Result<(), ReplayError> {
        (0..self.site.ports.len()).rev().try_for_each(|shard| self.ask(shard, wish()))
    }

    /// Asks the shards on which the replay has not ended, the first one last; at least one.
    fn ask_open(&self, id: ReplayId, wish: impl Fn() -> ReplayWish) -> Result<(), ReplayError> {
        let rows = replay(&self.settled(), id)?;
        if rows.first().is_none_or(Option::is_none) {
            return Err(ReplayError::Refused(Refusal::NotFound));
        }
        let mut found = Err(ReplayError::Refused(Refusal::Ended));
        for shard in (0..rows.len()).rev() {
            match self.ask(shard, wish()) {
                Ok(()) => found = Ok(()),
                // On this shard its last item went through already.
                Err(ReplayError::Refused(Refusal::Ended)) => {}
                Err(error) => return Err(error),
            }
        }
        found
    }

    fn end_open(&self, id: ReplayId, rows: &ReplayRows, end: &ReplayEnd) -> Result<(), ReplayError> {
        for (shard, row) in rows.iter().enumerate().rev() {
            if row.as_ref().is_some_and(ReplayRow::is_open) {
                self.ask(shard, ReplayWish::End { id, round: None, end: end.clone() })?;
            }
        }
        Ok(())
    }
}

fn stop(threads: &mut HashMap<ReplayId, Thread>, id: ReplayId) {
    if let Some(thread) = threads.remove(&id) {
        thread.stop.store(true, Ordering::Release);
        thread.handle.thread().unpark();
        // One that panicked has stopped too, and said so.
        let _ = thread.handle.join();
    }
}

/// How a replay must end that some shards ended before its time, or that the first shard does not know.
fn end_of(rows: &ReplayRows) -> Option<ReplayEnd> {
    let has = |state: ReplayState| rows.iter().flatten().any(|row| row.state == state);
    let failed = rows.iter().flatten().find(|row| row.state == ReplayState::Failed);
    match failed {
        Some(row) => Some(ReplayEnd::Failed(row.reason.clone().unwrap_or_default())),
        None if has(ReplayState::Cancelled) || rows.first().is_none_or(Option::is_none) => {
            Some(ReplayEnd::Cancelled)
        }
        None => None,
    }
}

/// The state of a replay as a whole; `None` when it was never acknowledged.
pub fn state_of(rows: &ReplayRows) -> Option<ReplayState> {
    rows.first()?.as_ref()?;
    let has = |state: ReplayState| rows.iter().flatten().any(|row| row.state == state);
    let order = [ReplayState::Paused, ReplayState::Running, ReplayState::Failed, ReplayState::Cancelled];
    Some(order.into_iter().find(|state| has(*state)).unwrap_or(ReplayState::Done))
}
