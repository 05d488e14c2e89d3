//! The files of the LSM trees of a database, checked before the store trusts them.
//!
//! Invariant: a version file is read only when it is byte for byte the one that was written. The store keeps its
//! checksum beside it and does not look (as of lsm-tree 3.1), and panics at some of what it then reads. It also keeps a
//! checksum of each table and blob file in the version file, which only `verify` looks at: it reads all of them.

use std::{
    fs::{self, File},
    io::{self, Read},
    path::{Path, PathBuf},
};

use xxhash_rust::xxh3::{Xxh3, xxh3_128};

use super::Fault;
use crate::error::OpenError;

/// Version number u64, checksum of the version file u128, type of checksum u8.
const CURRENT_BYTES: usize = 25;
/// Number of the file u64, type of checksum u8, checksum u128.
const FILE_BYTES: usize = 25;
/// A table has its sequence number behind that.
const TABLE_BYTES: usize = FILE_BYTES + 8;
/// What is read of a file at once.
const READ_BYTES: usize = 1 << 20;

/// What is wrong with the current version file of each tree of a database; a tree that is not made yet has none.
pub fn check(database: &Path) -> Result<Vec<Fault>, OpenError> {
    let mut faults = Vec::new();
    for tree in trees(database)? {
        faults.extend(version(&tree)?.err());
    }
    Ok(faults)
}

/// What is wrong with any file that a tree of the database is made of.
pub fn check_files(database: &Path) -> Result<Vec<Fault>, OpenError> {
    let mut faults = Vec::new();
    for tree in trees(database)? {
        let path = match version(&tree)? {
            Ok(Some(path)) => path,
            Ok(None) => continue,
            Err(fault) => {
                faults.push(fault);
                continue;
            }
        };
        let Some(files) = files(&tree, &path) else {
            faults.push(Fault { path, how: "it does not say which files the tree has".to_owned() });
            continue;
        };
        for (path, checksum) in files {
            match checksum_of(&path) {
                Ok(found) if found == checksum => {}
                Ok(_) => faults.push(Fault { path, how: "its checksum does not match".to_owned() }),
                Err(error) => faults.push(Fault { path, how: error.to_string() }),
            }
        }
    }
    Ok(faults)
}

/// Throws away a database whose making was cut short before anything could be written to it: the store refuses to make it
/// again over what is there (as of fjall 3.1), and writes its marker last.
pub fn discard_unmade(database: &Path) -> Result<(), OpenError> {
    let io = |source| OpenError::Io { path: database.to_path_buf(), source };
    if !database.exists() || database.join("version").exists() {
        return Ok(());
    }
    for entry in fs::read_dir(database).map_err(io)? {
        let entry = entry.map_err(io)?;
        let is_empty = match entry.file_name().to_str() {
            Some("lock") => true,
            Some("keyspaces") => fs::read_dir(entry.path()).map_err(io)?.next().is_none(),
            Some("0.jnl") => fs::read(entry.path()).map_err(io)?.iter().all(|byte| *byte == 0),
            _ => false,
        };
        if !is_empty {
            let how = "it has no version marker, but something was written to it".to_owned();
            return Err(OpenError::Damaged { path: database.to_path_buf(), how });
        }
    }
    fs::remove_dir_all(database).map_err(io)
}

fn trees(database: &Path) -> Result<Vec<PathBuf>, OpenError> {
    let keyspaces = database.join("keyspaces");
    let io = |source| OpenError::Io { path: keyspaces.clone(), source };
    if !keyspaces.exists() {
        return Ok(Vec::new());
    }
    let trees = fs::read_dir(&keyspaces).map_err(io)?;
    let mut trees = trees.map(|tree| Ok(tree?.path())).collect::<io::Result<Vec<_>>>().map_err(io)?;
    trees.sort();
    Ok(trees)
}

/// The current version file of a tree, if it is what was written.
fn version(tree: &Path) -> Result<Result<Option<PathBuf>, Fault>, OpenError> {
    let current = tree.join("current");
    let bytes = match fs::read(&current) {
        Ok(bytes) => bytes,
        // A crash while the tree was made: the store makes it again.
        Err(error) if error.kind() == io::ErrorKind::NotFound && is_new(tree)? => return Ok(Ok(None)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let how = "it is gone, and the store would throw away what it led to".to_owned();
            return Ok(Err(Fault { path: current, how }));
        }
        Err(source) => return Err(OpenError::Io { path: current, source }),
    };
    if bytes.len() != CURRENT_BYTES || bytes[24] != 0 {
        return Ok(Err(Fault { path: current, how: "it does not name a version".to_owned() }));
    }
    let path = tree.join(format!("v{}", u64_at(&bytes, 0)));
    Ok(match fs::read(&path) {
        Err(error) => Err(Fault { path, how: error.to_string() }),
        Ok(version) if xxh3_128(&version) != u128_at(&bytes, 8) => {
            Err(Fault { path, how: "its checksum does not match".to_owned() })
        }
        Ok(_) => Ok(Some(path)),
    })
}

/// Whether nothing was ever written to a tree: it has no file, and no version after its first.
fn is_new(tree: &Path) -> Result<bool, OpenError> {
    let io = |source| OpenError::Io { path: tree.to_path_buf(), source };
    for entry in fs::read_dir(tree).map_err(io)? {
        let entry = entry.map_err(io)?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let is_used = match name.as_str() {
            "tables" | "blobs" => fs::read_dir(entry.path()).map_err(io)?.next().is_some(),
            name => name.strip_prefix('v').and_then(|number| number.parse::<u64>().ok()) > Some(0),
        };
        if is_used {
            return Ok(false);
        }
    }
    Ok(true)
}

/// The tables and blob files that a version file names, with their checksums.
fn files(tree: &Path, version: &Path) -> Option<Vec<(PathBuf, u128)>> {
    let bytes = fs::read(version).ok()?;
    let archive = sfa::Reader::new(version).ok()?;
    let section = |name: &[u8]| {
        let entry = archive.toc().section(name)?;
        bytes.get(entry.pos() as usize..(entry.pos() + entry.len()) as usize)
    };
    let mut found = Vec::new();
    let mut file = |folder: &str, entry: &[u8]| {
        found.push((tree.join(folder).join(u64_at(entry, 0).to_string()), u128_at(entry, 9)));
    };
    let (levels, mut rest) = section(b"tables")?.split_first()?;
    for _ in 0..*levels {
        let (runs, behind) = rest.split_first()?;
        rest = behind;
        for _ in 0..*runs {
            let (tables, behind) = rest.split_first_chunk::<4>()?;
            rest = behind;
            for _ in 0..u32::from_le_bytes(*tables) {
                let (table, behind) = rest.split_first_chunk::<TABLE_BYTES>()?;
                file("tables", table);
                rest = behind;
            }
        }
    }
    let blobs = section(b"blob_files")?.get(4..)?;
    blobs.chunks_exact(FILE_BYTES).for_each(|blob| file("blobs", blob));
    Some(found)
}

fn checksum_of(path: &Path) -> io::Result<u128> {
    let mut file = File::open(path)?;
    let (mut hash, mut buffer) = (Xxh3::new(), vec![0; READ_BYTES]);
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(hash.digest128()),
            count => hash.update(&buffer[..count]),
        }
    }
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}

fn u128_at(bytes: &[u8], at: usize) -> u128 {
    u128::from_le_bytes(bytes[at..at + 16].try_into().expect("sixteen bytes"))
}
