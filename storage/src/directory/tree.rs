//! The files by which the LSM store finds its tables, checked before it trusts them.
//!
//! Invariant: a version file is read only when it is byte for byte the one that was written. The store keeps its
//! checksum beside it and does not look (as of lsm-tree 3.1), and panics at some of what it then reads.

use std::{fs, io, path::Path};

use xxhash_rust::xxh3::xxh3_128;

use crate::error::OpenError;

/// Version number u64, checksum of the version file u128, type of checksum u8.
const CURRENT_BYTES: usize = 25;

/// Checks the current version file of each tree of a database; one that does not exist yet has none.
pub fn check(database: &Path) -> Result<(), OpenError> {
    let keyspaces = database.join("keyspaces");
    let io = |source| OpenError::Io { path: keyspaces.clone(), source };
    if !keyspaces.exists() {
        return Ok(());
    }
    for tree in fs::read_dir(&keyspaces).map_err(io)? {
        check_tree(&tree.map_err(io)?.path())?;
    }
    Ok(())
}

fn check_tree(tree: &Path) -> Result<(), OpenError> {
    let current = tree.join("current");
    let bytes = match fs::read(&current) {
        Ok(bytes) => bytes,
        // A crash while the tree was made: the store makes it again.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(source) => return Err(OpenError::Io { path: current, source }),
    };
    let damaged = |path: &Path, how: &str| OpenError::Damaged { path: path.into(), how: how.into() };
    if bytes.len() != CURRENT_BYTES || bytes[24] != 0 {
        return Err(damaged(&current, "it does not name a version"));
    }
    let number = u64::from_le_bytes(bytes[0..8].try_into().expect("eight bytes"));
    let checksum = u128::from_le_bytes(bytes[8..24].try_into().expect("sixteen bytes"));
    let path = tree.join(format!("v{number}"));
    let version = fs::read(&path).map_err(|error| damaged(&path, &error.to_string()))?;
    if xxh3_128(&version) != checksum {
        return Err(damaged(&path, "its checksum does not match"));
    }
    Ok(())
}
