//! How each event changes the state.

use bytes::Bytes;
use keyway_storage::{
    error::ReadError,
    event::{
        Event, EventKind, Held, LeaseReturned, Noticed, Position, ProjectApplied, Received, RunFinished,
        RunRequested, RunState, RunsClaimed, StreamMoved, TICKS, TICKS_SKIPPED, TriggerId, Warned,
    },
    key::{Key, Tag},
    place::{Offset, RunKey, Timestamp},
    table::{
        AgainRow, HoldRow, LeaseRow, OnceEnd, OnceRow, PositionRow, ProjectRow, RunRow, Subject, Table,
        WaitingEntry, WorkOrderRow, notice_key,
    },
};
use xxhash_rust::xxh3::xxh3_64;

use super::{Part, State};
use crate::queue::lane::line_key;

impl State {
    pub(super) fn fold(&mut self, event: &Event) -> Result<(), ReadError> {
        let (offset, at) = (event.place.offset, event.at);
        match &event.kind {
            EventKind::Opened(_) => {
                self.counts.boots += 1;
                self.counts_dirty = true;
                let embedded = self.leases.iter().filter(|(_, lease)| lease.worker == 0);
                self.orphans = embedded.map(|(offset, _)| *offset).collect();
            }
            EventKind::ProjectApplied(applied) => self.fold_project(offset, applied),
            EventKind::Received(received) => self.fold_received(offset, at, received)?,
            EventKind::DeadLettered(letter) => {
                self.fold_position(offset, at, letter.trigger, &letter.position);
                self.put_letter(offset);
                self.open.add_letter(letter.trigger, offset, &self.rows)?;
            }
            EventKind::DeadLetterClosed(closed) => {
                self.rows.delete(Key::new(Tag::DeadLetter).u64(closed.letter.0));
                self.counts.dead_letters -= 1;
                self.open.close_letter(closed.letter, &self.rows)?;
                self.counts_dirty = true;
            }
            EventKind::RunsClaimed(claimed) => self.fold_claimed(at, claimed)?,
            EventKind::LeaseExpired(expired) => self.fold_offered_again(expired.run, expired.attempt),
            EventKind::LeaseReturned(back) => self.fold_returned(back),
            EventKind::RunRequested(requested) => self.fold_requested(offset, at, requested)?,
            EventKind::RunStarted(begun) => self.fold_started(begun.run, begun.started),
            EventKind::RunFinished(finished) => self.fold_finished(offset, at, finished)?,
            EventKind::CancelRequested(cancel) => self.fold_cancel(cancel.run),
            EventKind::Held(held) => self.fold_held(at, held),
            EventKind::Released(released) => self.queue.release(released.lane, &mut self.rows),
            EventKind::TriggerSwitched(switched) => {
                self.switches.insert(switched.trigger, switched.enabled);
                let value = Bytes::copy_from_slice(&[u8::from(switched.enabled)]);
                self.rows.put(Key::new(Tag::Switch).bytes(&switched.trigger.0), value);
            }
            EventKind::Warned(warned) => self.fold_warned(offset, at, warned),
            EventKind::Noticed(noticed) => self.fold_noticed(noticed)?,
            EventKind::ReplayStarted(_)
            | EventKind::ReplaySwitched(_)
            | EventKind::ReplayItemFailed(_)
            | EventKind::ReplayFailed(_)
            | EventKind::ReplayEnded(_) => self.replays.fold(event, &mut self.rows),
            EventKind::StreamMoved(moved) => self.fold_moved(offset, at, moved),
            EventKind::TickSkipped(skipped) => {
                let number = skipped.due.seconds();
                let position = Position::Next { stream: TICKS_SKIPPED.into(), number };
                self.fold_position(offset, at, skipped.trigger, &position);
            }
            EventKind::BulkStarted(started) => {
                let at = Bytes::copy_from_slice(&offset.0.to_le_bytes());
                self.rows.put(Key::new(Tag::Bulk).bytes(&started.id), at);
            }
            EventKind::BulkEnded(ended) => self.rows.delete(Key::new(Tag::Bulk).bytes(&ended.id)),
            EventKind::CursorSet(set) => self.fold_cursor(offset, set),
            EventKind::SchedulesSet(set) => self.fold_schedules(at, set),
            EventKind::Wiped(wiped) => self.fold_wiped(at, wiped)?,
            EventKind::HistoryCut(cut) => self.fold_cut(cut)?,
            EventKind::HistoryTrimmed(trimmed) => self.fold_trimmed(at, trimmed)?,
            EventKind::ClockSet(set) => self.fold_clock(set)?,
            EventKind::StepStarted(_)
            | EventKind::StepFinished(_)
            | EventKind::LogWritten(_)
            | EventKind::CutAway(_)
            | EventKind::Carried(_) => {}
        }
        Ok(())
    }

    fn fold_project(&mut self, offset: Offset, applied: &ProjectApplied) {
        if let Some(project) = (self.projects)(offset, Some(applied)) {
            self.project = project;
        }
        self.project_at = Some(offset);
        self.rows.put(Key::new(Tag::Project), ProjectRow { offset }.to_value());
        // The file wins over what was said by hand before it.
        for trigger in std::mem::take(&mut self.switches).into_keys() {
            self.rows.delete(Key::new(Tag::Switch).bytes(&trigger.0));
        }
    }

    fn fold_received(&mut self, offset: Offset, at: Timestamp, received: &Received) -> Result<(), ReadError> {
        match received.replays.and_then(|of| Part::of(&received.position).map(|part| (part, of))) {
            Some((part, of)) => self.replays.note_replayed(part, of.offset),
            None => {
                self.live_at = at;
                self.fold_position(offset, at, received.trigger, &received.position);
            }
        }
        self.count_work_order(None, RunState::Available);
        self.count_run(None, RunState::Available);
        if is_read(&received.position) {
            self.open.add_run(received.trigger, offset, &self.rows)?;
        }
        self.fresh.push((offset, received.trigger));
        self.queue.push(received.lane, WaitingEntry { offset, key: line_key(received) }, &mut self.rows)
    }

    fn fold_position(&mut self, offset: Offset, at: Timestamp, trigger: TriggerId, position: &Position) {
        match position {
            Position::None => {}
            Position::Once { key, body, window_seconds } => {
                let until = at.plus_millis(u64::from(*window_seconds) * 1_000);
                let row = OnceRow { offset, at, body: *body, until };
                self.keys.remember(OnceEnd { until, trigger, key: *key }, row, &mut self.rows);
            }
            Position::Next { stream, number } => {
                let row = PositionRow { number: *number, offset, at };
                self.streams.put(trigger, stream, row);
            }
        }
    }

    fn fold_moved(&mut self, offset: Offset, at: Timestamp, moved: &StreamMoved) {
        let stream = xxh3_64(moved.stream.as_bytes());
        let first = Key::new(Tag::Stream).bytes(&moved.trigger.0).u64(stream);
        match moved.next.checked_sub(1) {
            Some(number) => {
                let row = PositionRow { number, offset, at };
                self.streams.put(moved.trigger, &moved.stream.as_ref().into(), row);
                self.rows.delete(first);
            }
            None => {
                self.streams.delete(moved.trigger, &moved.stream, &mut self.rows);
                self.rows.put(first, Bytes::copy_from_slice(&at.0.to_le_bytes()));
            }
        }
    }

    fn fold_claimed(&mut self, at: Timestamp, claimed: &RunsClaimed) -> Result<(), ReadError> {
        for (lane, end) in &claimed.diverted {
            self.queue.divert(*lane, *end, &mut self.rows)?;
        }
        for run in &claimed.runs {
            let waiting = self.queue.take(run.lane, run.run.work_order, &mut self.rows)?;
            assert_eq!(waiting.n, run.run.n, "the claimed run is the one that waits");
            self.count_run(Some(RunState::Available), RunState::Claimed);
            let workflow = keyway_storage::event::WorkflowId(run.lane.owner);
            self.put_lease(LeaseRow {
                claimed: *run,
                workflow,
                worker: claimed.worker,
                boot: self.counts.boots,
                claimed_at: at,
                started: None,
                until: claimed.until,
                cancelled: false,
                requested: waiting.requested,
                key: waiting.key,
            });
        }
        Ok(())
    }

    fn fold_returned(&mut self, back: &LeaseReturned) {
        // The attempt was none.
        self.fold_offered_again(back.run, back.attempt.saturating_sub(1));
    }

    fn fold_offered_again(&mut self, run: RunKey, attempts: u8) {
        let lease = self.remove_lease(run.work_order).expect("only a claimed run is offered again");
        assert_eq!(lease.claimed.run, run);
        self.count_run(Some(lease_state(&lease)), RunState::Available);
        if lease.started.is_some() {
            self.count_work_order(Some(RunState::Started), RunState::Available);
        }
        let row = AgainRow { n: run.n, attempts, requested: lease.requested, key: lease.key };
        self.queue.push_again(lease.claimed.lane, run.work_order, row, &mut self.rows);
        self.queue.give_back(lease.claimed.lane, &mut self.rows);
    }

    fn fold_requested(
        &mut self,
        offset: Offset,
        at: Timestamp,
        requested: &RunRequested,
    ) -> Result<(), ReadError> {
        let work_order = requested.run.work_order;
        self.open.add_run_again(work_order, &self.rows)?;
        let mut row = self.work_order(work_order)?.expect("a run is asked for after another one has ended");
        assert_eq!(usize::from(requested.run.n), row.runs.len() + 1, "runs are numbered without a gap");
        self.count_work_order(Some(row.state), RunState::Available);
        self.count_run(None, RunState::Available);
        row.state = RunState::Available;
        row.last_activity = at;
        row.runs.push(RunRow {
            requested: Some(offset),
            inserted: at,
            start: requested.start,
            ..RunRow::waiting()
        });
        self.rows.put(WorkOrderRow::key(work_order), row.to_value());
        let again = AgainRow { n: requested.run.n, attempts: 0, requested: Some(offset), key: requested.key };
        self.queue.push_again(requested.lane, work_order, again, &mut self.rows);
        Ok(())
    }

    fn fold_started(&mut self, run: RunKey, started: Timestamp) {
        let mut lease = self.leases.get(&run.work_order).cloned().expect("only a claimed run begins");
        if lease.started.is_none() {
            self.count_run(Some(RunState::Claimed), RunState::Started);
            self.count_work_order(Some(RunState::Available), RunState::Started);
        }
        lease.started = Some(started);
        self.deadlines.remove(&(lease.until, run.work_order));
        self.put_lease(lease);
    }

    fn fold_finished(&mut self, offset: Offset, at: Timestamp, end: &RunFinished) -> Result<(), ReadError> {
        let work_order = end.run.work_order;
        self.open.end_run(work_order, &self.rows)?;
        let lease = self.remove_lease(work_order);
        let row = self.work_order(work_order)?;
        let from = lease.as_ref().map_or(RunState::Available, lease_state);
        let began = lease.as_ref().is_some_and(|lease| lease.started.is_some());
        self.count_run(Some(from), end.state);
        self.count_work_order(Some(if began { RunState::Started } else { RunState::Available }), end.state);
        let mut row = row.unwrap_or(WorkOrderRow { state: end.state, last_activity: at, runs: Vec::new() });
        if row.runs.len() < usize::from(end.run.n) {
            row.runs.push(RunRow::waiting());
        }
        row.state = end.state;
        row.last_activity = at;
        let run = row.runs.last_mut().expect("it has at least this run");
        run.state = end.state;
        run.attempts = end.attempt;
        run.claimed = lease.as_ref().map(|lease| lease.claimed_at);
        run.started = lease.as_ref().and_then(|lease| lease.started);
        run.finished = Some(end.finished);
        run.error = end.error.clone();
        run.end = Some(offset);
        self.rows.put(WorkOrderRow::key(work_order), row.to_value());
        match lease {
            Some(lease) => self.queue.give_back(lease.claimed.lane, &mut self.rows),
            // Cancelled while it waited.
            None => self.queue.cancel(end.run, &mut self.rows),
        }
        Ok(())
    }

    fn fold_cancel(&mut self, run: RunKey) {
        let mut lease =
            self.leases.get(&run.work_order).cloned().expect("a waiting run is cancelled at once");
        lease.cancelled = true;
        self.deadlines.remove(&(lease.until, run.work_order));
        self.put_lease(lease);
        self.stops.push_back(run);
    }

    fn fold_warned(&mut self, offset: Offset, at: Timestamp, warned: &Warned) {
        let key = Subject::of(warned).key(Tag::Embargo);
        self.rows.put(key, Bytes::copy_from_slice(&at.0.to_le_bytes()));
        self.rows.put(notice_key(offset), [&key[1..], &at.0.to_le_bytes()].concat().into());
    }

    fn fold_noticed(&mut self, noticed: &Noticed) -> Result<(), ReadError> {
        let Some(notice) = self.open_notice(noticed.of)? else { return Ok(()) };
        self.rows.delete(notice_key(noticed.of));
        if noticed.delivered {
            let (subject, at) = notice.split_at(notice.len() - 8);
            self.rows.put(Key::new(Tag::Told).bytes(subject), Bytes::copy_from_slice(at));
        }
        Ok(())
    }

    fn fold_held(&mut self, at: Timestamp, held: &Held) {
        let hold = HoldRow {
            until: held.until,
            since: at,
            work_order: held.work_order,
            cause: held.cause.clone(),
            released: false,
        };
        self.queue.put_hold(held.lane, hold, &mut self.rows);
    }
}

/// The state of a run that a worker has.
pub fn lease_state(lease: &LeaseRow) -> RunState {
    if lease.started.is_some() { RunState::Started } else { RunState::Claimed }
}

/// Whether an input was read from a stream: a source that reads bounds its open runs. It is told by the event alone, since a
/// rebuild has no projects.
fn is_read(position: &Position) -> bool {
    matches!(position, Position::Next { stream, .. } if **stream != *TICKS)
}
