//! The data dir that an import fills.
//!
//! Invariant: each shard's events are taken in the order of their offsets, without a gap where there was none. Blocks are
//! synced once, at the end: until then nobody was told that anything is there. A log that was cut is filled beside its
//! place and renamed into it.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

use keyway_storage::{
    directory::{DataDir, Durability, Manifest, Store},
    error::OpenError,
    event::Event,
    line::{BaseRow, Header},
    log::Log,
    place::Offset,
    routes::Routes,
};

use super::filling::Filling;
use crate::{
    failure::Failure,
    offline::{self, progress::Progress, rebuild},
};

/// A data dir that is filled.
pub struct Target {
    data: DataDir,
    shards: Vec<Filling>,
    new: u64,
    known: u64,
    /// Where it goes when it is whole, if it is made beside that.
    place: Option<PathBuf>,
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

impl Target {
    /// Opens the data dir if it is a copy of the same one, or makes it.
    pub fn open(path: &Path, header: &Header) -> Result<Self, Failure> {
        let routes = header.routes.as_deref().map(Routes::from_text).transpose();
        let routes = routes.map_err(|how| Failure::Failed(format!("the routes of the export: {how}")))?;
        let manifest = Manifest { id_key: header.id_key, ..Manifest::new(header.shards) };
        let (mut data, place) = match path.join("manifest").exists() {
            true => (DataDir::open_existing(path).map_err(offline::refuse)?, None),
            false if header.cuts.is_empty() => {
                (DataDir::create(path, &manifest).map_err(offline::refuse)?, None)
            }
            false => (make_beside(path, &manifest)?, Some(path.to_path_buf())),
        };
        if let Some(routes) =
            routes.filter(|routes| data.routes().is_plain() && routes.logs() == header.shards)
        {
            data.set_routes(&routes).map_err(|error| failed(path, &error))?;
        }
        let Manifest { shards, id_key, .. } = *data.manifest();
        // A copy may have come to more shards since: the events of those that it was made of are where they were.
        if id_key != header.id_key || shards < header.shards {
            let hint = "holds another log than this file is of: import it into an empty data dir";
            return Err(Failure::Failed(format!("the data dir {} {hint}", path.display())));
        }
        let shards = data.shards().map(|shard| {
            let store = data.open_shard(shard, Durability::Os, None).map_err(offline::refuse)?;
            let cut = place.as_ref().map(|_| header.cut(shard)).filter(|cut| cut.dense > Offset(0));
            Filling::open(shard, store, cut).map_err(|error| Failure::Damaged(error.to_string()))
        });
        let shards = shards.collect::<Result<_, Failure>>()?;
        Ok(Self { data, shards, new: 0, known: 0, place })
    }

    /// Whether it is there only when it is whole.
    pub fn is_made_anew(&self) -> bool {
        self.place.is_some()
    }

    fn filling(&mut self, shard: u8) -> Result<&mut Filling, Refused> {
        let filling = self.shards.get_mut(usize::from(shard));
        filling.ok_or_else(|| Refused::Line(format!("there is no shard {shard}")))
    }

    /// Takes a row of a base, unless the data dir has the events that it is made of, or a base of its own.
    pub fn take_row(&mut self, row: BaseRow) -> Result<(), Refused> {
        let is_made_anew = self.is_made_anew();
        let filling = self.filling(row.shard.0)?;
        if is_made_anew { filling.take_row(row) } else { Ok(()) }
    }

    /// Takes an event, if it is not there already.
    pub fn take(&mut self, event: Event) -> Result<(), Refused> {
        let is_known = self.filling(event.place.shard.0)?.take(event)?;
        self.known += u64::from(is_known);
        self.new += u64::from(!is_known);
        Ok(())
    }

    /// Writes what was taken so far.
    pub fn flush(&mut self) -> Result<(), Failure> {
        self.shards.iter_mut().try_for_each(Filling::flush)
    }

    /// For each shard, the first event that is not there.
    pub fn tails(&self) -> Vec<Offset> {
        self.shards.iter().map(Filling::tail).collect()
    }

    /// Derives the rows from what came; returns it with how many events were new, and how many were there before.
    pub fn close(self, progress: &Progress) -> Result<(DataDir, u64, u64), Failure> {
        let (tails, mut before) = (self.tails(), 0);
        let stores: Vec<Store> = self.shards.into_iter().map(Filling::into_store).collect();
        progress.begin(stores.iter().map(rebuild::events).sum(), "events");
        for Store { log, state, views } in stores {
            rebuild::fold(&log, Some(state), Some(views), &mut |done| progress.reach(before + done))?;
            before += log.live().len() as u64;
        }
        self.data.note_tails(&tails).map_err(|error| failed(self.data.path(), &error))?;
        let data = match self.place {
            None => self.data,
            Some(place) => put_in_place(self.data, &place)?,
        };
        Ok((data, self.new, self.known))
    }
}

/// Makes a data dir beside its place. What an interrupted import left there is thrown away.
fn make_beside(path: &Path, manifest: &Manifest) -> Result<DataDir, Failure> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".import");
    let beside = path.with_file_name(name);
    if beside.exists() {
        // Unless another import is at it.
        match DataDir::open_existing(&beside) {
            Err(error @ OpenError::InUse { .. }) => return Err(offline::refuse(error)),
            other => drop(other),
        }
        fs::remove_dir_all(&beside).map_err(|error| failed(&beside, &error))?;
    }
    DataDir::create(&beside, manifest).map_err(offline::refuse)
}

fn put_in_place(data: DataDir, place: &Path) -> Result<DataDir, Failure> {
    let beside = data.path().to_path_buf();
    let parent = match place.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let moved = fs::rename(&beside, place).and_then(|()| File::open(parent)?.sync_all());
    moved.map_err(|error| failed(place, &error))?;
    drop(data);
    DataDir::open_existing(place).map_err(offline::refuse)
}

fn failed(path: &Path, error: &io::Error) -> Failure {
    Failure::Failed(format!("{}: {error}", path.display()))
}
