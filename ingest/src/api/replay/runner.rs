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
    api::{ApiError, call::current, whole::drops},
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

/// How a walk ended by itself.
enum Way {
    /// It came to all that there is.
    Whole,
    /// The views that it went by were dropped: what they did not show must not be passed over.
    Lost,
}

impl Runner {
    /// Walks to the end, or until it must stop.
    pub fn run(self) {
        let (rounds, end) = loop {
            let Ok(readers) = self.readers() else { return };
            let rows = match replay(&readers, self.id) {
                Ok(rows) => rows,
                Err(error) => return tracing::error!(%error, "a replay cannot be read"),
            };
            let rounds: Vec<u32> = rows.iter().map(|row| row.as_ref().map_or(0, |row| row.round)).collect();
            match self.walk(&readers, &rows, &rounds) {
                Ok(Ok(Way::Whole)) => break (rounds, ReplayEnd::Done),
                Ok(Ok(Way::Lost)) => {}
                Ok(Err(Stopped)) => return,
                Err(error) => break (rounds, ReplayEnd::Failed(error.to_string().into())),
            }
        };
        for shard in (0..rounds.len()).rev() {
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
    ) -> Result<Result<Way, Stopped>, ApiError> {
        let head = rows.first().and_then(Option::as_ref);
        let head = head.ok_or_else(|| ApiError::internal("The replay is not there."))?;
        let plan = Plan::of_log(&head.filter)?;
        let before = drops(readers);
        // The views may lag after a start; what they do not show yet must not be passed over.
        while readers.iter().zip(&plan.until).any(|(reader, until)| reader.stats.views() < *until) {
            if self.pause(Duration::from_millis(REPLAY_WAIT_MS)).is_err() {
                return Ok(Err(Stopped));
            }
        }
        let mut pace = Pace::new(plan.filter.rate_per_second, time::now());
        let mut walk = Forward::new(readers, plan.filter.along(), &plan.spans(readers)?);
        let mut project = Arc::<Project>::default();
        for count in 0.. {
            if self.stop.load(Ordering::Acquire) {
                return Ok(Err(Stopped));
            }
            if count % EVENTS_PER_LOOK == 0 {
                project = current(readers, &self.site.catalog)?.unwrap_or_default();
            }
            let event = walk.step()?;
            // Behind a look at the views: what it did not find is missing only if this says so.
            if drops(readers) != before {
                return Ok(Ok(Way::Lost));
            }
            let Some(event) = event else { break };
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
        Ok(Ok(Way::Whole))
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
    fn new(rate_per_second: Option<u64>, now: Timestamp) -> Self {
        Self { rate_per_second, since: now, sent: 0 }
    }

    /// Waits until the next item is due.
    fn wait(&mut self, pause: impl Fn(Duration) -> Result<(), Stopped>) -> Result<(), Stopped> {
        while let Some(left) = self.left(time::now()) {
            pause(left)?;
        }
        self.sent += 1;
        Ok(())
    }

    /// How long it is until the next item is due; `None` when it is.
    fn left(&mut self, now: Timestamp) -> Option<Duration> {
        let rate = self.rate_per_second?;
        let due = self.since.0 + self.sent * 1_000_000 / rate;
        let (late, early) = (now.0.saturating_sub(due), due.saturating_sub(now.0));
        // Late: what it missed is not made up for. Too early: the clock was set back.
        if late > LATE_MICROS_MAX || early > 1_000_000 / rate + LATE_MICROS_MAX {
            *self = Self::new(self.rate_per_second, now);
            return None;
        }
        (early > 0).then(|| Duration::from_micros(early))
    }
}

#[cfg(test)]
mod tests {
    use super::Pace;
    use keyway_storage::place::Timestamp;
    use std::time::Duration;

    const BEGIN: u64 = 100_000_000_000;

    /// At which times, in microseconds after the beginning, items are sent when this is how late each look is.
    fn sent(pace: &mut Pace, mut now: u64, items: usize, late: u64) -> Vec<u64> {
        let mut sent = Vec::new();
        while sent.len() < items {
            match pace.left(Timestamp(BEGIN + now)) {
                Some(left) => now += left.as_micros() as u64 + late,
                None => {
                    pace.sent += 1;
                    sent.push(now);
                }
            }
        }
        sent
    }

    #[test]
    fn items_are_as_far_apart_as_the_rate_says_and_late_looks_do_not_add_up() {
        let mut pace = Pace::new(Some(100), Timestamp(BEGIN));
        assert_eq!(sent(&mut pace, 0, 4, 0), [0, 10_000, 20_000, 30_000]);
        let mut pace = Pace::new(Some(100), Timestamp(BEGIN));
        assert_eq!(sent(&mut pace, 0, 101, 700)[100], 1_000_700);
        let mut pace = Pace::new(Some(3), Timestamp(BEGIN));
        assert_eq!(sent(&mut pace, 0, 4, 0), [0, 333_333, 666_666, 1_000_000]);
        let mut pace = Pace::new(None, Timestamp(BEGIN));
        assert_eq!(sent(&mut pace, 0, 3, 0), [0, 0, 0]);
    }

    #[test]
    fn what_a_replay_missed_while_it_waited_is_not_made_up_for_in_a_burst() {
        let mut pace = Pace::new(Some(100), Timestamp(BEGIN));
        assert_eq!(sent(&mut pace, 0, 2, 0), [0, 10_000]);
        // A shard had no room for a minute.
        assert_eq!(sent(&mut pace, 60_000_000, 3, 0), [60_000_000, 60_010_000, 60_020_000]);
        // For half a second: it catches up.
        assert_eq!(sent(&mut pace, 60_500_000, 2, 0), [60_500_000, 60_500_000]);
    }

    #[test]
    fn a_clock_that_is_set_back_holds_up_nothing() {
        let mut pace = Pace::new(Some(2), Timestamp(BEGIN));
        pace.sent = 10;
        assert_eq!(pace.left(Timestamp(BEGIN + 4_600_000)), Some(Duration::from_millis(400)));
        assert_eq!(pace.left(Timestamp(BEGIN - 3_600_000_000)), None);
        pace.sent += 1;
        assert_eq!(pace.left(Timestamp(BEGIN - 3_600_000_000)), Some(Duration::from_millis(500)));
    }
}
