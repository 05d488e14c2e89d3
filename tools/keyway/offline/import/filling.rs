//! One shard of the data dir that an import fills.
//!
//! Invariant: its log begins where that of the export did. What was left before it comes first, beside the rows that stand
//! for the rest.

use keyway_storage::{
    block::Block,
    directory::Store,
    error::{AppendError, CommitError, ReadError},
    event::Event,
    limits::{BATCH_BYTES_MAX, BLOCK_EVENTS_MAX, RESTORE_ROWS_MAX},
    line::{self, BaseOf, BaseRow, Cut},
    log::{Log, LogReader},
    place::{Offset, ShardId, Timestamp},
    rows::Rows,
};

use super::target::Refused;
use crate::failure::Failure;

/// One shard, with the block that is filled next.
pub struct Filling {
    store: Store,
    reader: LogReader,
    block: Block,
    last_at: Timestamp,
    /// What was cut of it, until its dense part begins.
    begun: Option<Begun>,
}

/// A log that does not begin yet.
struct Begun {
    cut: Cut,
    state: Rows,
    views: Rows,
    /// Rows that are not committed.
    buffered: usize,
}

impl Filling {
    /// A shard behind what it has already, or, if something was cut, one that is empty.
    pub fn open(shard: ShardId, store: Store, cut: Option<Cut>) -> Result<Self, ReadError> {
        let (reader, end) = (store.log.reader(), store.log.live().end);
        let last = end.0.checked_sub(1).map(|last| reader.block(Offset(last))).transpose()?.flatten();
        let last_at = last.map_or(Timestamp(0), |block| block.at());
        let mut block = Block::new(shard);
        block.begin(end, last_at);
        let begun = cut.map(|cut| {
            let (state, views) = (store.state.make_base()?, store.views.make_base()?);
            Ok::<_, ReadError>(Begun { cut, state, views, buffered: 0 })
        });
        Ok(Self { begun: begun.transpose()?, reader: reader.remembering(), store, block, last_at })
    }

    /// What was filled.
    pub fn into_store(self) -> Store {
        self.store
    }

    /// The first event that is not there.
    pub fn tail(&self) -> Offset {
        self.store.log.live().end
    }

    /// Takes a row of its base.
    pub fn take_row(&mut self, row: BaseRow) -> Result<(), Refused> {
        let Some(begun) = &mut self.begun else {
            return Err(Refused::Line("the first line does not say that this shard was cut".to_owned()));
        };
        let rows = match row.of {
            BaseOf::State => &mut begun.state,
            BaseOf::Views => &mut begun.views,
        };
        rows.put(row.key, row.value);
        begun.buffered += 1;
        if begun.buffered >= RESTORE_ROWS_MAX {
            begun.commit(Cut::default())?;
        }
        Ok(())
    }

    /// Takes an event. Returns whether it was there already.
    pub fn take(&mut self, event: Event) -> Result<bool, Refused> {
        if let Some(begun) = &self.begun {
            if event.place.offset < begun.cut.dense {
                return self.plant(event).map(|()| false);
            }
            self.begin_dense()?;
        }
        let (shard, offset) = (event.place.shard.0, event.place.offset);
        let next = self.block.next();
        if offset > next {
            let how = format!("event {shard}-{} is missing before {shard}-{}", next.0, offset.0);
            return Err(Refused::Line(how));
        }
        if offset < next {
            return self.compare(&event).map(|()| true);
        }
        self.push(event).map(|()| false)
    }

    /// Whether the event that is there is the same one.
    fn compare(&mut self, event: &Event) -> Result<(), Refused> {
        let offset = event.place.offset;
        if offset >= self.store.log.live().end {
            self.append()?;
        }
        let found = self.reader.event(offset).map_err(|error| Failure::Damaged(error.to_string()))?;
        // It may be gone here, and was still there when the file was made.
        let is_gone = found.is_none() && offset < self.store.log.live().first;
        if is_gone || found.is_some_and(|found| line::check_of(&found) == line::check_of(event)) {
            return Ok(());
        }
        let how = "the data dir holds another event at this place: it is no copy, or went on by itself";
        Err(Refused::Line(how.to_owned()))
    }

    /// Takes an event that was left where history was cut.
    fn plant(&mut self, event: Event) -> Result<(), Refused> {
        let (offset, next) = (event.place.offset, self.block.next());
        if offset < next {
            return Err(Refused::Line("it comes after one that was behind it".to_owned()));
        }
        self.check_time(&event)?;
        let is_full = self.block.len() >= BLOCK_EVENTS_MAX || self.block.bytes() >= BATCH_BYTES_MAX;
        if offset > next || event.at > self.last_at || is_full {
            self.append()?;
            self.block.begin(offset, event.at);
            self.last_at = event.at;
        }
        self.block.push(&event.kind);
        Ok(())
    }

    /// Lets the log begin: everything from here on comes, and what stands for the rest is there.
    fn begin_dense(&mut self) -> Result<(), Failure> {
        self.append()?;
        let Some(mut begun) = self.begun.take() else { return Ok(()) };
        begun.commit(begun.cut)?;
        // Durable before a log that counts on it.
        self.store.log.sync().map_err(failed)?;
        self.store.log.begin_at(begun.cut.dense).map_err(failed)?;
        self.block.begin(begun.cut.dense, self.last_at);
        Ok(())
    }

    fn push(&mut self, event: Event) -> Result<(), Refused> {
        self.check_time(&event)?;
        let is_full = self.block.len() >= BLOCK_EVENTS_MAX || self.block.bytes() >= BATCH_BYTES_MAX;
        if event.at > self.last_at || is_full {
            self.append()?;
            self.block.begin(event.place.offset, event.at);
            self.last_at = event.at;
        }
        self.block.push(&event.kind);
        Ok(())
    }

    fn check_time(&self, event: &Event) -> Result<(), Refused> {
        match event.at < self.last_at {
            true => Err(Refused::Line("its time is before that of the event before it".to_owned())),
            false => Ok(()),
        }
    }

    fn append(&mut self) -> Result<(), Failure> {
        if self.block.is_empty() {
            return Ok(());
        }
        match self.begun {
            Some(_) => self.store.log.plant(&mut self.block).map_err(failed)?,
            None => drop(self.store.log.append(&mut self.block).map_err(failed)?),
        }
        self.block.begin(self.block.next(), self.last_at);
        Ok(())
    }

    /// Writes what was taken so far.
    pub fn flush(&mut self) -> Result<(), Failure> {
        self.append()?;
        self.store.log.sync().map_err(failed)
    }
}

impl Begun {
    fn commit(&mut self, watermarks: Cut) -> Result<(), Failure> {
        self.buffered = 0;
        let committed =
            self.state.commit(watermarks.state).and_then(|()| self.views.commit(watermarks.views));
        committed.map_err(|error: CommitError| Failure::Failed(error.to_string()))
    }
}

fn failed(error: AppendError) -> Failure {
    Failure::Failed(error.to_string())
}
