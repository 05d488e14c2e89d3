//! A folder for the data of one bench.
//!
//! Invariant: it is gone when the bench is over, however that ends, but for a kill.

use std::{
    fs,
    path::{Path, PathBuf},
};

use uuid::Uuid;

use crate::failure::Failure;

/// A folder that is removed when it is dropped.
pub struct Workspace {
    path: PathBuf,
}

impl Workspace {
    /// A new folder in this one.
    pub fn new(parent: &Path) -> Result<Self, Failure> {
        let path = parent.join(format!("keyway-bench-{}", Uuid::new_v4().simple()));
        fs::create_dir(&path).map_err(|error| {
            let hint = "name a folder that can be written to with --work-dir";
            Failure::Failed(format!("{}: cannot be made: {error}\n{hint}", path.display()))
        })?;
        // The server that is started may have another working folder one day.
        let path = path.canonicalize().unwrap_or(path);
        Ok(Self { path })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Workspace {
    fn drop(&mut self) {
        // What cannot be removed is the user's to look at; its name says where it comes from.
        let _ = fs::remove_dir_all(&self.path);
    }
}
