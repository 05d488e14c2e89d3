//! The thread of one replay: walks the logs, oldest first, and hands what fits to the shards.
//!
//! Invariant: a shard gets the items of one log in the order of that log. What it decided before is not sent again;
//! what it meets a second time it passes over, so that a walk may begin anew after a pause or a crash.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use keyway_engine::{
    command::{ReplayEnd, ReplayId},
    project::Project,
    replay::{Sent, What},
    shard::ShardReader,
    view::{forward::Forward, replay::replay},
};
use keyway_storage::{
    event::{Event, EventKind},
    limits::REPLAY_WAIT_MS,
    place::{ShardId, Timestamp},
    table::ReplayRow,
};

use super::{item, plan::Plan, replays::Site};
use crate::{
    api::{ApiError, call::current},
    time,
};

/// After so many events a walk looks which project is in force.
const EVENTS_PER_LOOK: usize = 256;
/// A replay that is later than this does not catch up what its rate would have allowed.
const LATE_MICROS_MAX: u64 = 1_000_000;

/// One replay under way.
pub struct Runner {
    /// Which.
    pub id: ReplayId,
    /// What it reads and where its items go.
    pub site: Arc<Site>,
    /// Set when it must stop.
    pub stop: Arc<AtomicBool>,
}

/// The walk must stop: someone paused or ended the replay, or the process ends.
struct Stopped;

impl Runner {
    /// Walks to the end, or until it must stop.
    pub fn run(self) {
        let Ok(readers) = self.readers() else { return };
        let rows = match replay(&readers, self.id) {
            Ok(rows) => rows,
            Err(error) => return tracing::error!(%error, "a replay cannot be read"),
        };
        let rounds: Vec<u32> = rows.iter().map(|row| row.as_ref().map_or(0, |row| row.round)).collect();
        let end = match self.walk(&readers, &rows, &rounds) {
            Ok(Ok(())) => ReplayEnd::Done,
            Ok(Err(Stopped)) => return,
            Err(error) => ReplayEnd::Failed(error.to_string().into()),
        };
        for shard in (0..readers.len()).rev() {
            let what = What::End(end.clone());
            if self.send(shard, Sent { id: self.id, round: rounds[shard], what }).is_err() {
                return;
            }
        }
    }

    /// Readers of rows that reflect everything up to now: how far the replay has come, and its round.
    fn readers(&self) -> Result<Vec<ShardReader>, Stopped> {
        let readers: Vec<_> = self.site.readers.iter().map(ShardReader::remembering).collect();
        let tails: Vec<_> = readers.iter().map(|reader| reader.stats.tail()).collect();
        while readers.iter().zip(&tails).any(|(reader, tail)| reader.stats.settled() < *tail) {
            self.pause(Duration::from_millis(REPLAY_WAIT_MS))?;
        }
        Ok(readers)
    }

    fn walk(
        &self,
        readers: &[ShardReader],
        rows: &[Option<ReplayRow>],
        rounds: &[u32],
    ) -> Result<Result<(), Stopped>, ApiError> {
        let head = rows.first().and_then(Option::as_ref);
        let head = head.ok_or_else(|| ApiError::internal("The replay is not there."))?;
        let plan = Plan::of_log(&head.filter)?;
        // The views may lag after a start; what they do not show yet must not be passed over.
        while readers.iter().zip(&plan.until).any(|(reader, until)| reader.stats.views() < *until) {
            if self.pause(Duration::from_millis(REPLAY_WAIT_MS)).is_err() {
                return Ok(Err(Stopped));
            }
        }
        let mut pace = Pace::new(plan.filter.rate_per_second);
        let mut walk = Forward::new(readers, plan.filter.along(), &plan.spans(readers)?);
        let mut project = Arc::<Project>::default();
        for count in 0.. {
            if self.stop.load(Ordering::Acquire) {
                return Ok(Err(Stopped));
            }
            if count % EVENTS_PER_LOOK == 0 {
                project = current(readers, &self.site.catalog)?.unwrap_or_default();
            }
            let Some(event) = walk.step()? else { break };
            let reader = &readers[usize::from(event.place.shard.0)];
            if !plan.filter.fits(reader, &project, &event)? {
                continue;
            }
            let Some((what, owner)) = self.item(&project, &event) else { continue };
            let owner = usize::from(owner.0);
            let seen = rows[owner].as_ref().and_then(|row| row.seen(event.place.shard));
            if seen.is_some_and(|seen| seen >= event.place.offset) {
                continue;
            }
            let sent = Sent { id: self.id, round: rounds[owner], what };
            if pace.wait(|most| self.pause(most)).is_err() || self.send(owner, sent).is_err() {
                return Ok(Err(Stopped));
            }
        }
        Ok(Ok(()))
    }

    fn item(&self, project: &Project, event: &Event) -> Option<(What, ShardId)> {
        let (item, owner) = match &event.kind {
            EventKind::DeadLettered(letter) => {
                let raw = letter.letter.raw.as_deref();
                let item = item::of_letter(project, event.place, letter, raw);
                (item.unwrap_or_else(|it| item::of_hindered(event.place, letter, &it)), event.place.shard)
            }
            EventKind::Received(input) => item::of_event(project, event.place, input, &self.site.routes),
            _ => return None,
        };
        Some((What::Item(item), owner))
    }

    /// Hands something to a shard, as soon as there is room.
    fn send(&self, shard: usize, mut sent: Sent) -> Result<(), Stopped> {
        while let Some(refused) = self.site.ways[shard].put(sent) {
            sent = refused;
            self.pause(Duration::from_millis(REPLAY_WAIT_MS))?;
        }
        Ok(())
    }

    /// Waits so long, or until it must stop.
    fn pause(&self, most: Duration) -> Result<(), Stopped> {
        if !self.stop.load(Ordering::Acquire) {
            thread::park_timeout(most);
        }
        if self.stop.load(Ordering::Acquire) { Err(Stopped) } else { Ok(()) }
    }
}

/// Keeps a replay from going faster than it may.
struct Pace {
    rate_per_second: Option<u64>,
    since: Timestamp,
    sent: u64,
}

impl Pace {
    fn new(rate_per_second: Option<u64>) -> Self {
        Self { rate_per_second, since: time::now(), sent: 0 }
    }

    /// Waits until the next item is due.
    fn wait(&mut self, pause: impl Fn(Duration) -> Result<(), Stopped>) -> Result<(), Stopped> {
        let Some(rate) = self.rate_per_second else { return Ok(()) };
        let due = self.since.0 + self.sent * 1_000_000 / rate;
        let mut now = time::now().0;
        if now > due + LATE_MICROS_MAX {
            *self = Self { rate_per_second: self.rate_per_second, since: Timestamp(now), sent: 0 };
        }
        while now < due {
            pause(Duration::from_micros(due - now))?;
            now = time::now().0;
        }
        self.sent += 1;
        Ok(())
    }
}
