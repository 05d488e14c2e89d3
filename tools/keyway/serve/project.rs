//! Project files for a running engine: new ones, and those that the log holds.

use std::{
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};

use keyway_engine::{
    catalog::{ProjectLoader, content_of},
    project::{Mistake, Origin, Project, Reading, read, read_again, text},
};
use keyway_ingest::{api::ProjectReader, secret::EnvAndFiles, trigger::types};
use keyway_storage::event::{MadeId, ProjectApplied};
use uuid::Uuid;

/// Reads project files that come from one place.
#[derive(Clone)]
pub struct Files {
    origin: Origin,
    /// A hash of the last one that was read from a log and lacks no secret.
    whole: Arc<Mutex<Option<u64>>>,
}

impl Files {
    /// Files whose `{file: PATH}` are relative to the folder of this one; to the working folder without one.
    pub fn new(file: Option<&PathBuf>) -> Self {
        let origin = match file {
            Some(file) => Origin::of(file),
            None => Origin { file: "project".to_owned(), folder: PathBuf::new() },
        };
        Self { origin, whole: Arc::default() }
    }

    /// Whether a file that a log holds was read already, as one would be read that someone wants to put into force.
    pub fn is_read(&self, applied: &ProjectApplied) -> bool {
        *self.whole.lock().unwrap_or_else(PoisonError::into_inner) == Some(content_of(applied))
    }
}

fn make() -> [u8; 16] {
    Uuid::new_v4().into_bytes()
}

impl ProjectReader for Files {
    fn read(&self, file: &[u8], made: &[MadeId]) -> Result<Reading, Vec<Mistake>> {
        read(text(file, &self.origin)?, &self.origin, &types(), &EnvAndFiles, made, &mut make)
    }
}

impl ProjectLoader for Files {
    fn load(&self, applied: &ProjectApplied) -> Arc<Project> {
        let reading = text(&applied.file, &self.origin).and_then(|text| {
            read_again(text, &self.origin, &types(), &EnvAndFiles, &applied.made, &mut make)
        });
        match reading {
            Ok(reading) => {
                for warning in &reading.warnings {
                    tracing::warn!("{warning}");
                }
                let whole = reading.whole.then(|| content_of(applied));
                *self.whole.lock().unwrap_or_else(PoisonError::into_inner) = whole;
                Arc::new(reading.project)
            }
            Err(mistakes) => {
                // It was accepted once: only a newer, stricter version of keyway gets here.
                for mistake in &mistakes {
                    tracing::error!("the project in the data dir cannot be read any more: {mistake}");
                }
                Arc::default()
            }
        }
    }
}
