//! A plain file that takes the same bytes again and again: what a disk does by itself.
//!
//! Invariant: it is gone when it is dropped.

use std::{
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
};

use bytes::Bytes;

use crate::failure::Failure;

/// The file, and the bytes that it takes.
pub struct Plain {
    path: PathBuf,
    file: File,
    bytes: Bytes,
}

impl Plain {
    /// A new file in this folder.
    pub fn new(folder: &Path, bytes: Bytes) -> Result<Self, Failure> {
        let path = folder.join("plain");
        let file = File::create(&path).map_err(|error| refuse(&path, &error))?;
        Ok(Self { path, file, bytes })
    }

    /// Appends the bytes, and syncs them.
    pub fn write(&mut self) -> Result<(), Failure> {
        let written = self.file.write_all(&self.bytes).and_then(|()| self.file.sync_data());
        written.map_err(|error| refuse(&self.path, &error))
    }
}

impl Drop for Plain {
    fn drop(&mut self) {
        // The workspace goes too; until then the next part needs the room.
        let _ = fs::remove_file(&self.path);
    }
}

fn refuse(path: &Path, error: &io::Error) -> Failure {
    Failure::Failed(format!("{}: {error}", path.display()))
}
