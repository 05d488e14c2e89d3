//! Audit: a shard's log, looked at event by event for what a checksum cannot tell.
//!
//! Invariant: nothing is written. Times and positions never fall, every reference leads to what it should, and every
//! id leads back to its event.

use std::collections::{BTreeSet, HashMap};

use keyway_storage::{
    error::ReadError,
    event::{CursorState, Event, EventKind, Kind, LetterEnd, Position, StreamMoved, TriggerId},
    id::{Ids, What},
    limits::FINDINGS_MAX,
    log::LogReader,
    place::{Offset, Place, Timestamp},
    rows::RowsReader,
    table::{BUCKET_OFFSETS, Bitmap, by_trigger_key},
};
use xxhash_rust::xxh3::xxh3_64;

use crate::{
    projection::{ALL_TRIGGERS, Views},
    refold::Watcher,
};

/// Something that is not as it should be.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Finding {
    /// Where: an event, a file, a row.
    pub place: String,
    /// How it shows.
    pub how: String,
}

/// Looks at one shard's events in order.
pub struct Audit<'a> {
    ids: Ids,
    logs: &'a [LogReader],
    pass: &'a mut dyn FnMut(Offset) -> bool,
    last_at: Timestamp,
    projects: BTreeSet<Offset>,
    /// The last number of each stream: as many as there are rows of positions.
    positions: HashMap<(TriggerId, u64), u64>,
    findings: Vec<Finding>,
}

impl<'a> Audit<'a> {
    /// An audit; `logs` are those of all shards, `pass` is told how far it is and may end it.
    pub fn new(ids: Ids, logs: &'a [LogReader], pass: &'a mut dyn FnMut(Offset) -> bool) -> Self {
        let (projects, positions) = (BTreeSet::new(), HashMap::new());
        Self { ids, logs, pass, last_at: Timestamp(0), projects, positions, findings: Vec::new() }
    }

    /// What was found, up to `FINDINGS_MAX`.
    pub fn into_findings(self) -> Vec<Finding> {
        self.findings
    }

    /// Looks at what was kept of the part of the log that was cut: nothing folds it, people and runs read it.
    pub fn see_kept(&mut self, log: &LogReader, views: &RowsReader) -> Result<(), ReadError> {
        let dense = log.dense();
        for block in log.blocks(Offset(0)) {
            let block = block?;
            if block.span().first >= dense {
                break;
            }
            for event in block.events(Offset(0)) {
                let event = event?;
                if event.place.offset >= dense {
                    break;
                }
                self.check_time(&event);
                self.check_id(&event);
            }
        }
        let (from, end) = (by_trigger_key(ALL_TRIGGERS, 0), by_trigger_key(ALL_TRIGGERS, u64::MAX));
        for row in views.scan(from, end) {
            let (key, value) = row?;
            let bucket = key.last_u64();
            if bucket * BUCKET_OFFSETS >= dense.0 {
                break;
            }
            for offset in Bitmap::from_value(&value)?.offsets(bucket).filter(|offset| *offset < dense) {
                let kept = log.event(offset)?.is_some_and(|event| event.kind.kind() == Kind::Received);
                if !kept {
                    self.note(Place { shard: log.shard(), offset }, "it is listed as a work order, and gone");
                }
            }
        }
        Ok(())
    }

    fn check_time(&mut self, event: &Event) {
        if event.at < self.last_at {
            self.note(event.place, "its time is before that of the event before it");
        }
        self.last_at = event.at;
    }

    /// Whether a place is in the part of its log that was cut.
    fn is_cut(&self, place: Place) -> bool {
        let log = self.logs.iter().find(|log| log.shard() == place.shard);
        log.is_some_and(|log| place.offset < log.dense())
    }

    fn note(&mut self, place: Place, how: impl Into<String>) {
        if self.findings.len() < FINDINGS_MAX {
            let place = format!("event {}-{}", place.shard.0, place.offset.0);
            self.findings.push(Finding { place, how: how.into() });
        }
    }

    fn check_position(&mut self, place: Place, trigger: TriggerId, position: &Position) {
        let Position::Next { stream, number } = position else { return };
        let last = self.positions.insert((trigger, xxh3_64(stream.as_bytes())), *number);
        if let Some(last) = last.filter(|last| last >= number) {
            self.note(place, format!("position {number} of stream {stream} comes after {last}"));
        }
    }

    /// A stream that goes on elsewhere may go back: a partition that was truncated counts anew.
    fn move_position(&mut self, moved: &StreamMoved) {
        let stream = (moved.trigger, xxh3_64(moved.stream.as_bytes()));
        match moved.next.checked_sub(1) {
            Some(last) => drop(self.positions.insert(stream, last)),
            None => drop(self.positions.remove(&stream)),
        }
    }

    fn check_project(&mut self, place: Place, project: Offset) {
        if !self.projects.contains(&project) && !self.is_cut(Place { offset: project, ..place }) {
            self.note(place, format!("offset {} is no project that came into force before", project.0));
        }
    }

    fn check_id(&mut self, event: &Event) {
        let what = match &event.kind {
            EventKind::Received(_) => What::WorkOrder,
            EventKind::DeadLettered(_) => What::DeadLetter,
            EventKind::StepStarted(_) => What::Step,
            EventKind::LogWritten(_) => What::LogLine,
            _ => return,
        };
        let decoded = self.ids.decode(self.ids.encode(what, event.place, event.at));
        let same = decoded
            .is_some_and(|it| it.what == what && it.place == event.place && it.millis == event.at.millis());
        if !same {
            self.note(event.place, "its id does not lead back to it");
        }
    }

    /// The kind of the event at a place, in whichever log it is.
    fn kind_at(&self, place: Place) -> Result<Option<Kind>, ReadError> {
        let Some(log) = self.logs.iter().find(|log| log.shard() == place.shard) else { return Ok(None) };
        Ok(log.block(place.offset)?.map(|block| block.kind(place.offset)).transpose()?)
    }

    fn check_made(&mut self, at: Place, target: Place, kinds: &[Kind]) -> Result<(), ReadError> {
        let found = self.kind_at(target)?.filter(|kind| *kind != Kind::CutAway);
        if found.is_none() && self.is_cut(target) {
            return Ok(());
        }
        if found.is_none_or(|found| !kinds.contains(&found)) {
            let (shard, offset) = (target.shard.0, target.offset.0);
            self.note(at, format!("it names {shard}-{offset}, which is not {}", kinds[0].name()));
        }
        Ok(())
    }

    fn check_work_order(
        &mut self,
        place: Place,
        work_order: Offset,
        views: &mut Views,
    ) -> Result<(), ReadError> {
        if work_order >= place.offset || !views.is_work_order(work_order)? {
            self.note(place, format!("offset {} is no work order that came before", work_order.0));
        }
        Ok(())
    }
}

impl Watcher for Audit<'_> {
    fn see(&mut self, event: &Event, views: &mut Views) -> Result<(), ReadError> {
        let place = event.place;
        self.check_time(event);
        self.check_id(event);
        match &event.kind {
            EventKind::ProjectApplied(_) => drop(self.projects.insert(place.offset)),
            EventKind::Received(received) => {
                self.check_position(place, received.trigger, &received.position);
                self.check_project(place, received.project);
                if let Some(replayed) = received.replays {
                    self.check_made(place, replayed, &[Kind::Received, Kind::DeadLettered])?;
                }
            }
            EventKind::StreamMoved(moved) => self.move_position(moved),
            EventKind::DeadLettered(letter) => self.check_position(place, letter.trigger, &letter.position),
            EventKind::DeadLetterClosed(closed) => {
                let letter = Place { offset: closed.letter, ..place };
                self.check_made(place, letter, &[Kind::DeadLettered])?;
                if let LetterEnd::Replayed { work_order } = closed.end {
                    self.check_made(place, work_order, &[Kind::Received])?;
                }
            }
            EventKind::ReplayItemFailed(it) => {
                self.check_made(place, it.item, &[Kind::Received, Kind::DeadLettered])?;
            }
            EventKind::RunRequested(it) => {
                self.check_project(place, it.project);
                self.check_work_order(place, it.run.work_order, views)?;
            }
            EventKind::RunsClaimed(it) => {
                for claimed in &it.runs {
                    self.check_work_order(place, claimed.run.work_order, views)?;
                }
            }
            EventKind::LeaseExpired(it) => self.check_work_order(place, it.run.work_order, views)?,
            EventKind::LeaseReturned(it) => self.check_work_order(place, it.run.work_order, views)?,
            EventKind::RunStarted(it) => {
                self.check_work_order(place, it.run.work_order, views)?;
                if let Some(offset) = it.cursor {
                    self.check_made(place, Place { offset, ..place }, &[Kind::CursorSet])?;
                }
            }
            EventKind::CursorSet(it) => {
                if let CursorState::At(offset) = it.state {
                    let state = Place { offset, ..place };
                    self.check_made(place, state, &[Kind::StepFinished, Kind::RunFinished])?;
                }
            }
            EventKind::RunFinished(it) => self.check_work_order(place, it.run.work_order, views)?,
            EventKind::StepStarted(it) => self.check_work_order(place, it.run.work_order, views)?,
            EventKind::StepFinished(it) => self.check_work_order(place, it.run.work_order, views)?,
            EventKind::LogWritten(it) => self.check_work_order(place, it.run.work_order, views)?,
            EventKind::CancelRequested(it) => self.check_work_order(place, it.run.work_order, views)?,
            EventKind::Held(it) => self.check_work_order(place, it.work_order, views)?,
            EventKind::Released(it) => self.check_work_order(place, it.work_order, views)?,
            _ => {}
        }
        Ok(())
    }

    fn pass(&mut self, next: Offset) -> bool {
        (self.pass)(next)
    }
}
