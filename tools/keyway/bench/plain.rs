//! A plain file that takes the same bytes again and again: what a disk does by itself.
//!
//! Invariant: it is gone when it is dropped.

use std::{
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
};

use crate::failure::Failure;

/// The store's journal packs values from this size on, as fjall does where it is not told otherwise.
const PACKED_FROM_BYTES: usize = 4_096;

/// What the store's journal makes of a block: a disk that is to be held against it has to write no more.
pub fn packed(block: &[u8]) -> Vec<u8> {
    if block.len() < PACKED_FROM_BYTES { block.to_vec() } else { lz4_flex::compress(block) }
}

/// The file, and the bytes that it takes.
pub struct Plain {
    path: PathBuf,
    file: File,
    bytes: Vec<u8>,
}

impl Plain {
    /// A new file in this folder.
    pub fn new(folder: &Path, bytes: Vec<u8>) -> Result<Self, Failure> {
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
