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
    limits::PROJECTS_CACHED_MAX,
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
    by_place: HashMap<(ShardId, Offset), Arc<Project>>,
    by_content: HashMap<u64, Arc<Project>>,
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

    /// The project that the event at `offset` of `shard` put into force.
    pub fn get(&self, shard: ShardId, offset: Offset) -> Option<Arc<Project>> {
        if let Some(project) = lock(&self.projects).by_place.get(&(shard, offset)) {
            return Some(Arc::clone(project));
        }
        let reader = lock(&self.readers).get(&shard)?.clone();
        match reader.event(offset).ok()??.kind {
            EventKind::ProjectApplied(applied) => Some(self.load(shard, offset, &applied)),
            _ => None,
        }
    }

    /// Reads a project, or finds the one that was read from the same file before.
    pub fn load(&self, shard: ShardId, offset: Offset, applied: &ProjectApplied) -> Arc<Project> {
        let content = content_of(&applied.file, &applied.made);
        let known = lock(&self.projects).by_content.get(&content).cloned();
        let project = known.unwrap_or_else(|| self.loader.load(applied));
        self.keep(shard, offset, content, &project);
        project
    }

    /// Keeps a project that is about to be applied.
    pub fn put(&self, shard: ShardId, offset: Offset, apply: &Apply) {
        self.keep(shard, offset, content_of(&apply.file, &apply.made), &apply.project);
    }

    fn keep(&self, shard: ShardId, offset: Offset, content: u64, project: &Arc<Project>) {
        let mut projects = lock(&self.projects);
        // Rare: only after that many applies. What is still needed is read again from the log.
        if projects.by_place.len() >= PROJECTS_CACHED_MAX {
            *projects = Projects::default();
        }
        projects.by_content.insert(content, Arc::clone(project));
        projects.by_place.insert((shard, offset), Arc::clone(project));
    }
}

fn content_of(file: &[u8], made: &[MadeId]) -> u64 {
    made.iter().fold(xxh3_64(file), |hash, made| {
        hash.rotate_left(7) ^ xxh3_64(made.name.as_bytes()) ^ xxh3_64(&made.id).rotate_left(31)
    })
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("no holder of this lock panics: it only looks up and inserts")
}
