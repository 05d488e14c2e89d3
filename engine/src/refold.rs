//! Refold: rows derived from the log anew, to put them in the place of others or to hold them against others.
//!
//! Invariant: the log is only read. It is folded in slices, so that memory does not grow with it.

use std::{fmt, sync::Arc};

use keyway_storage::{
    error::{CommitError, ReadError},
    event::Event,
    key::{Key, Tag},
    limits::{REFOLD_EVENTS_MAX, RESTORE_ROWS_MAX},
    log::LogReader,
    place::Offset,
    rows::{Row, Rows, RowsReader},
};

use crate::{
    projection::{Views, no_base},
    queue::old::{is_old, renew},
    shard::ShardReader,
    state::State,
};

/// Why rows were not derived.
#[derive(Debug)]
pub enum RefoldError {
    /// The log or the rows cannot be read.
    Read(ReadError),
    /// The rows cannot be written.
    Commit(CommitError),
    /// Whoever watches wants it to end.
    Stopped,
}

impl fmt::Display for RefoldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read(error) => error.fmt(f),
            Self::Commit(error) => error.fmt(f),
            Self::Stopped => f.write_str("stopped before the end; the next start goes on with it"),
        }
    }
}

impl std::error::Error for RefoldError {}

impl From<ReadError> for RefoldError {
    fn from(error: ReadError) -> Self {
        Self::Read(error)
    }
}

impl From<CommitError> for RefoldError {
    fn from(error: CommitError) -> Self {
        Self::Commit(error)
    }
}

/// Sees every event before it is folded.
pub trait Watcher {
    /// Called with each event, and with the views of all events before it.
    fn see(&mut self, _: &Event, _: &mut Views) -> Result<(), ReadError> {
        Ok(())
    }

    /// Called after each slice with the first offset that is not folded yet. False ends the work.
    fn pass(&mut self, next: Offset) -> bool;
}

/// How far each projection is brought.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ends {
    /// The first event that the state shall not reflect.
    pub state: Offset,
    /// The first event that the views shall not reflect.
    pub views: Offset,
}

impl Ends {
    /// Both as far as this.
    pub fn both(end: Offset) -> Self {
        Self { state: end, views: end }
    }
}

/// The two projections of one shard while they are derived, each if it is wanted.
pub struct Refold {
    state: Option<State>,
    views: Option<Views>,
    /// The first event that the watcher has not seen.
    unseen: Offset,
}

impl Refold {
    /// Goes on with these rows from where they are, or from their base when the log was cut behind it.
    pub fn open(
        log: &LogReader,
        mut state: Option<Rows>,
        mut views: Option<Rows>,
    ) -> Result<Self, ReadError> {
        for rows in [&mut state, &mut views].into_iter().flatten() {
            let base = rows.base()?.map(|base| base.reader());
            restore(rows, base, log.dense())?;
        }
        Self::begin(log, state, views)
    }

    /// Derives rows anew in others, empty ones, beside those of a shard, whose bases are begun with.
    pub fn beside(
        log: &LogReader,
        state: &RowsReader,
        views: &RowsReader,
        scratch: (Rows, Rows),
    ) -> Result<Self, ReadError> {
        let (mut scratch_state, mut scratch_views) = scratch;
        restore(&mut scratch_state, state.base()?, log.dense())?;
        restore(&mut scratch_views, views.base()?, log.dense())?;
        Self::begin(log, Some(scratch_state), Some(scratch_views))
    }

    fn begin(log: &LogReader, state: Option<Rows>, views: Option<Rows>) -> Result<Self, ReadError> {
        // Only deciding asks for projects.
        let no_projects = Arc::new(|_, _: Option<&_>| None);
        let state = state.map(|rows| State::open(log.shard(), rows, no_projects)).transpose()?;
        Ok(Self { state, views: views.map(Views::open), unseen: Offset(0) })
    }

    /// Folds the log into the rows.
    pub fn run(&mut self, log: &LogReader, ends: Ends, watcher: &mut dyn Watcher) -> Result<(), RefoldError> {
        let begin = self.watermarks().into_iter().flatten().min().unwrap_or_default();
        let end = ends.state.max(ends.views);
        let (mut next, mut in_slice) = (begin, 0);
        for block in log.blocks(begin).take_while(|_| begin < end) {
            let block = block?;
            for event in block.events(next) {
                let event = event.map_err(ReadError::from)?;
                if event.place.offset >= end {
                    break;
                }
                self.apply(&event, ends, watcher)?;
                next = event.place.offset.advance(1);
                in_slice += 1;
                if in_slice >= REFOLD_EVENTS_MAX {
                    in_slice = 0;
                    self.commit(next, ends)?;
                    if !watcher.pass(next) {
                        return Err(RefoldError::Stopped);
                    }
                }
            }
            if next >= end {
                break;
            }
        }
        self.commit(next, ends)?;
        watcher.pass(next);
        Ok(())
    }

    fn watermarks(&self) -> [Option<Offset>; 2] {
        [self.state.as_ref().map(State::watermark), self.views.as_ref().map(Views::watermark)]
    }

    fn apply(&mut self, event: &Event, ends: Ends, watcher: &mut dyn Watcher) -> Result<(), ReadError> {
        let offset = event.place.offset;
        if let Some(views) = &mut self.views
            && (self.unseen..ends.views).contains(&offset)
        {
            watcher.see(event, views)?;
            self.unseen = offset.advance(1);
        }
        if let Some(state) = &mut self.state
            && (state.watermark()..ends.state).contains(&offset)
        {
            state.apply(event)?;
        }
        if let Some(views) = &mut self.views
            && (views.watermark()..ends.views).contains(&offset)
        {
            views.apply(event)?;
        }
        Ok(())
    }

    fn commit(&mut self, next: Offset, ends: Ends) -> Result<(), CommitError> {
        if let Some(state) = &mut self.state {
            state.commit(next.min(ends.state).max(state.watermark()))?;
            // Nobody waits for news of what is long over.
            state.drain_freed().for_each(drop);
            state.drain_stops().for_each(drop);
        }
        if let Some(views) = &mut self.views {
            views.commit(next.min(ends.views).max(views.watermark()))?;
        }
        Ok(())
    }

    /// A reader of the rows of `state`, if they are derived.
    pub fn state(&self) -> Option<RowsReader> {
        self.state.as_ref().map(State::reader)
    }

    /// A reader of the rows of `views`, if they are derived.
    pub fn views(&self) -> Option<RowsReader> {
        self.views.as_ref().map(Views::reader)
    }
}

/// Takes up what stands for the part of a log that was cut, in rows that do not reflect it.
pub fn restore(rows: &mut Rows, base: Option<RowsReader>, dense: Offset) -> Result<(), ReadError> {
    let io = |error: CommitError| ReadError::Io(error.to_string());
    if is_old(&rows.reader()) {
        // They are derived anew, so that they are again what the log says byte for byte.
        rows.clear().map_err(io)?;
    }
    if rows.watermark() >= dense {
        return Ok(());
    }
    let base = base.ok_or_else(no_base)?;
    let watermark = rows.watermark_of(&base)?;
    if watermark < dense {
        return Err(no_base());
    }
    if rows.watermark() > Offset(0) {
        rows.clear().map_err(io)?;
    }
    let mut last = rows.copy(&base, None, RESTORE_ROWS_MAX)?;
    while last.is_some() {
        rows.commit(Offset(0)).map_err(io)?;
        last = rows.copy(&base, last, RESTORE_ROWS_MAX)?;
    }
    renew(rows)?;
    rows.commit(watermark).map_err(io)
}

/// Lets everything pass.
pub struct Blind;

impl Watcher for Blind {
    fn pass(&mut self, _: Offset) -> bool {
        true
    }
}

/// The first key on which rows and log disagree, with the name of the keyspace; `None` when they are the same.
pub fn difference(reader: &ShardReader) -> Result<Option<String>, RefoldError> {
    let ends = Ends {
        state: watermark_of(&reader.state, Tag::Watermark)?,
        views: watermark_of(&reader.views, Tag::ViewsWatermark)?,
    };
    let scratch = (Rows::memory(Tag::Watermark), Rows::memory(Tag::ViewsWatermark));
    let mut refold = Refold::beside(&reader.log, &reader.state, &reader.views, scratch)?;
    refold.run(&reader.log, ends, &mut Blind)?;
    let (state, views) = (refold.state(), refold.views());
    let in_state = state.map(|folded| compare(&reader.state, &folded)).transpose()?.flatten();
    let in_views = views.map(|folded| compare(&reader.views, &folded)).transpose()?.flatten();
    let named = |name: &str, how: Option<String>| how.map(|how| format!("{name}: {how}"));
    Ok(named("state", in_state).or(named("views", in_views)))
}

/// The first offset that rows do not reflect.
pub fn watermark_of(rows: &RowsReader, tag: Tag) -> Result<Offset, ReadError> {
    let value = rows.get(&Key::new(tag))?;
    Ok(value.map_or(Offset(0), |value| {
        Offset(u64::from_le_bytes(value[..].try_into().expect("a watermark is eight bytes")))
    }))
}

/// The first row on which those on disk and those from the log disagree.
pub fn compare(disk: &RowsReader, folded: &RowsReader) -> Result<Option<String>, ReadError> {
    let everything = (Key::new(Tag::Block), Key::from_slice(&[u8::MAX]));
    let mut disk = disk.scan(everything.0, everything.1);
    let mut folded = folded.scan(everything.0, everything.1);
    // A watermark at the beginning says what none says: a rebuild that was killed leaves one.
    let is_nothing = |row: &Row| {
        let marks = [Tag::Watermark, Tag::ViewsWatermark].map(Key::new);
        row.as_ref().is_ok_and(|(key, value)| marks.contains(key) && value[..] == [0; 8])
    };
    let next = |mut rows: &mut dyn Iterator<Item = Row>| {
        let row = Iterator::find(&mut rows, |row| !is_nothing(row));
        row.transpose()
    };
    loop {
        let (left, right) = (next(&mut disk)?, next(&mut folded)?);
        match (left, right) {
            (None, None) => return Ok(None),
            (left, right) if left == right => {}
            (left, right) => return Ok(Some(format!("on disk {left:?}, from the log {right:?}"))),
        }
    }
}
