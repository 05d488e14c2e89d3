//! The projects that runs were made for: every `ProjectApplied` that is still needed, read.
//!
//! Invariant: the same offset of the same shard always gives the same project. Projects are shared: a file that was
//! applied on all shards is held once.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard},
};

use keyway_storage::{
    event::{EventKind, MadeId, ProjectApplied},
    limits::{PROJECTS_CACHED_BYTES_MAX, PROJECTS_CACHED_MAX},
    log::LogReader,
    place::{Offset, ShardId},
};
use xxhash_rust::xxh3::xxh3_64;

use crate::{command::Apply, project::Project};

/// Reads a project file that was accepted before. It cannot refuse: secrets that are gone leave gaps, not errors.
pub trait ProjectLoader: Send + Sync {
    /// The project that an event put into force.
    fn load(&self, applied: &ProjectApplied) -> Arc<Project>;
}

/// All projects by where they were applied.
pub struct Catalog {
    loader: Box<dyn ProjectLoader>,
    readers: Mutex<HashMap<ShardId, LogReader>>,
    projects: Mutex<Projects>,
}

#[derive(Default)]
struct Projects {
    /// What was applied where, by a hash of its content.
    by_place: HashMap<(ShardId, Offset), u64>,
    by_content: HashMap<u64, Kept>,
    /// Bytes of the files of those that are kept.
    bytes: usize,
}

struct Kept {
    project: Arc<Project>,
    /// Bytes of its file.
    bytes: usize,
}

impl Catalog {
    /// An empty catalog.
    pub fn new(loader: Box<dyn ProjectLoader>) -> Self {
        Self { loader, readers: Mutex::default(), projects: Mutex::default() }
    }

    /// Says where a shard's events are read.
    pub fn add_shard(&self, shard: ShardId, reader: LogReader) {
        lock(&self.readers).insert(shard, reader);
    }

    /// How many shards there are.
    pub fn shards(&self) -> usize {
        lock(&self.readers).len()
    }

    /// The project that the event at `offset` of `shard` put into force, or that the run which it asks for was made for.
    pub fn get(&self, shard: ShardId, offset: Offset) -> Option<Arc<Project>> {
        self.find(shard, offset, true)
    }

    /// A run is followed once to its project: the log may have been written by hand.
    fn find(&self, shard: ShardId, offset: Offset, follows: bool) -> Option<Arc<Project>> {
        if let Some(project) = lock(&self.projects).get(shard, offset) {
            return Some(project);
        }
        let reader = lock(&self.readers).get(&shard)?.clone();
        match reader.event(offset).ok()??.kind {
            EventKind::ProjectApplied(applied) => Some(self.load(shard, offset, &applied)),
            EventKind::Received(received) if follows => self.find(shard, received.project, false),
            EventKind::RunRequested(requested) if follows => self.find(shard, requested.project, false),
            _ => None,
        }
    }

    /// Reads a project, or finds the one that was read from the same file before.
    pub fn load(&self, shard: ShardId, offset: Offset, applied: &ProjectApplied) -> Arc<Project> {
        let content = content_of(applied);
        let known = lock(&self.projects).by_content.get(&content).map(|kept| Arc::clone(&kept.project));
        let project = known.unwrap_or_else(|| self.loader.load(applied));
        let kept = Kept { project: Arc::clone(&project), bytes: applied.file.len() };
        lock(&self.projects).keep(shard, offset, content, kept);
        project
    }

    /// Keeps a project that is about to be applied.
    pub fn put(&self, shard: ShardId, offset: Offset, apply: &Apply) {
        let kept = Kept { project: Arc::clone(&apply.project), bytes: apply.file.len() };
        lock(&self.projects).keep(shard, offset, hash_of(&apply.file, &apply.made), kept);
    }
}

impl Projects {
    fn get(&self, shard: ShardId, offset: Offset) -> Option<Arc<Project>> {
        let content = self.by_place.get(&(shard, offset))?;
        self.by_content.get(content).map(|kept| Arc::clone(&kept.project))
    }

    fn keep(&mut self, shard: ShardId, offset: Offset, content: u64, kept: Kept) {
        // Rare: only after that many applies. Where it was applied is read again from the log.
        if self.by_place.len() >= PROJECTS_CACHED_MAX {
            self.by_place.clear();
        }
        self.by_place.insert((shard, offset), content);
        self.bytes += kept.bytes;
        if let Some(before) = self.by_content.insert(content, kept) {
            self.bytes -= before.bytes;
        }
        if self.bytes > PROJECTS_CACHED_BYTES_MAX || self.by_content.len() > PROJECTS_CACHED_MAX {
            self.shrink(content);
        }
    }

    /// Lets go of all but one and those that are in use; what is needed again is read again from the log.
    fn shrink(&mut self, newest: u64) {
        self.by_content.retain(|content, kept| *content == newest || Arc::strong_count(&kept.project) > 1);
        self.by_place.retain(|_, content| self.by_content.contains_key(content));
        self.bytes = self.by_content.values().map(|kept| kept.bytes).sum();
    }
}

/// A hash of all that a project is read from.
pub fn content_of(applied: &ProjectApplied) -> u64 {
    hash_of(&applied.file, &applied.made)
}

fn hash_of(file: &[u8], made: &[MadeId]) -> u64 {
    made.iter().fold(xxh3_64(file), |hash, made| {
        hash.rotate_left(7) ^ xxh3_64(made.name.as_bytes()) ^ xxh3_64(&made.id).rotate_left(31)
    })
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("no holder of this lock panics: it only looks up and inserts")
}
