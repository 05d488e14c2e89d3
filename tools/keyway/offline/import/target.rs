//! The data dir that an import fills.
//!
//! Invariant: each shard's events are taken in the order of their offsets, without a gap. Blocks are synced once, at
//! the end: until then nobody was told that anything is there.

use std::path::Path;

use keyway_engine::refold::{Ends, Refold, RefoldError, Watcher};
use keyway_storage::{
    block::Block,
    directory::{DataDir, Durability, Manifest, Store},
    error::AppendError,
    event::Event,
    limits::{BATCH_BYTES_MAX, BLOCK_EVENTS_MAX},
    line::{self, Header},
    log::{Log, LogReader},
    place::{Offset, Timestamp},
    routes::Routes,
};

use crate::{failure::Failure, offline};

/// A data dir that is filled.
pub struct Target {
    data: DataDir,
    shards: Vec<Filling>,
    new: u64,
    known: u64,
}

/// Why an event was not taken.
pub enum Refused {
    /// It cannot be: its line is wrong, or not of this data dir.
    Line(String),
    /// The data dir cannot take it.
    Failed(Failure),
}

impl From<Failure> for Refused {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

/// One shard of it, with the block that is filled next.
struct Filling {
    store: Store,
    reader: LogReader,
    block: Block,
    last_at: Timestamp,
}

impl Target {
    /// Opens the data dir if it is a copy of the same one, or makes it.
    pub fn open(path: &Path, header: &Header) -> Result<Self, Failure> {
        let routes = header.routes.as_deref().map(Routes::from_text).transpose();
        let routes = routes.map_err(|how| Failure::Failed(format!("the routes of the export: {how}")))?;
        let mut data = match path.join("manifest").exists() {
            true => DataDir::open_existing(path).map_err(offline::refuse)?,
            false => {
                let manifest = Manifest { id_key: header.id_key, ..Manifest::new(header.shards) };
                DataDir::create(path, &manifest).map_err(offline::refuse)?
            }
        };
        if let Some(routes) =
            routes.filter(|routes| data.routes().is_plain() && routes.logs() == header.shards)
        {
            let changed = data.set_routes(&routes);
            changed.map_err(|error| Failure::Failed(format!("{}: {error}", path.display())))?;
        }
        let Manifest { shards, id_key, .. } = *data.manifest();
        // A copy may have come to more shards since: the events of those that it was made of are where they were.
        if id_key != header.id_key || shards < header.shards {
            let hint = "holds another log than this file is of: import it into an empty data dir";
            return Err(Failure::Failed(format!("the data dir {} {hint}", path.display())));
        }
        let shards = data.shards().map(|shard| {
            let store = data.open_shard(shard, Durability::Os, None).map_err(offline::refuse)?;
            let reader = store.log.reader();
            let end = store.log.live().end;
            let last = end.0.checked_sub(1).map(|last| reader.block(Offset(last))).transpose();
            let last = last.map_err(|error| Failure::Damaged(error.to_string()))?.flatten();
            let mut block = Block::new(shard);
            let last_at = last.map_or(Timestamp(0), |block| block.at());
            block.begin(end, last_at);
            Ok(Filling { store, reader: reader.remembering(), block, last_at })
        });
        let shards = shards.collect::<Result<_, Failure>>()?;
        Ok(Self { data, shards, new: 0, known: 0 })
    }

    /// Takes an event, if it is not there already.
    pub fn take(&mut self, event: Event) -> Result<(), Refused> {
        let (shard, offset) = (event.place.shard.0, event.place.offset);
        let filling = self.shards.get_mut(usize::from(shard));
        let filling = filling.ok_or_else(|| Refused::Line(format!("there is no shard {shard}")))?;
        let next = filling.block.next();
        if offset > next {
            let how = format!("event {shard}-{} is missing before {shard}-{}", next.0, offset.0);
            return Err(Refused::Line(how));
        }
        if offset < next {
            self.known += 1;
            return filling.compare(&event);
        }
        self.new += 1;
        filling.push(event)
    }

    /// Writes what was taken so far.
    pub fn flush(&mut self) -> Result<(), Failure> {
        self.shards.iter_mut().try_for_each(|filling| filling.append().and_then(|()| filling.sync()))
    }

    /// For each shard, the first event that is not there.
    pub fn tails(&self) -> Vec<Offset> {
        self.shards.iter().map(|filling| filling.store.log.live().end).collect()
    }

    /// Derives the rows from what came; returns it with how many events were new, and how many were there before.
    pub fn close(self, pass: &mut dyn FnMut(u64) -> bool) -> Result<(DataDir, u64, u64), Failure> {
        let tails = self.tails();
        for Filling { store, .. } in self.shards {
            let (log, end) = (store.log.reader(), store.log.live().end);
            let refold = Refold::open(&log, Some(store.state), Some(store.views));
            let mut refold = refold.map_err(|error| Failure::Damaged(error.to_string()))?;
            let mut passing = Passing(pass);
            refold.run(&log, Ends::both(end), &mut passing).map_err(|error| match error {
                RefoldError::Read(error) => Failure::Damaged(error.to_string()),
                other => Failure::Failed(other.to_string()),
            })?;
        }
        let noted = self.data.note_tails(&tails);
        noted.map_err(|error| Failure::Failed(format!("{}: {error}", self.data.path().display())))?;
        Ok((self.data, self.new, self.known))
    }
}

impl Filling {
    /// Whether the event that is there is the same one.
    fn compare(&mut self, event: &Event) -> Result<(), Refused> {
        let offset = event.place.offset;
        if offset >= self.store.log.live().end {
            self.append()?;
        }
        let found = self.reader.event(offset).map_err(|error| Failure::Damaged(error.to_string()))?;
        if found.is_some_and(|found| line::check_of(&found) == line::check_of(event)) {
            return Ok(());
        }
        let how = "the data dir holds another event at this place: it is no copy, or went on by itself";
        Err(Refused::Line(how.to_owned()))
    }

    fn push(&mut self, event: Event) -> Result<(), Refused> {
        if event.at < self.last_at {
            return Err(Refused::Line("its time is before that of the event before it".to_owned()));
        }
        let is_full = self.block.len() >= BLOCK_EVENTS_MAX || self.block.bytes() >= BATCH_BYTES_MAX;
        if event.at > self.last_at || is_full {
            self.append()?;
            self.block.begin(event.place.offset, event.at);
            self.last_at = event.at;
        }
        self.block.push(&event.kind);
        Ok(())
    }

    fn append(&mut self) -> Result<(), Failure> {
        if self.block.is_empty() {
            return Ok(());
        }
        self.store.log.append(&mut self.block).map_err(failed)?;
        self.block.begin(self.block.next(), self.last_at);
        Ok(())
    }

    fn sync(&mut self) -> Result<(), Failure> {
        self.store.log.sync().map_err(failed)
    }
}

fn failed(error: AppendError) -> Failure {
    Failure::Failed(error.to_string())
}

struct Passing<'a>(&'a mut dyn FnMut(u64) -> bool);

impl Watcher for Passing<'_> {
    fn pass(&mut self, next: Offset) -> bool {
        (self.0)(next.0)
    }
}
