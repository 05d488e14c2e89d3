//! Folders in tests.

use std::{
    fs::{self, File},
    io::{self, Read},
    path::Path,
};

use rustix::fs::{SeekFrom, seek};

/// Copies a folder with all that is in it.
pub fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let target = to.join(entry.file_name());
        match entry.file_type().unwrap().is_dir() {
            true => copy(&entry.path(), &target),
            false => copy_file(&entry.path(), &target),
        }
    }
}

/// Leaves the hole that a journal ends with a hole: it is 64 MiB.
fn copy_file(from: &Path, to: &Path) {
    let source = File::open(from).unwrap();
    let length = source.metadata().unwrap().len();
    // Nothing but a hole, or a file of no bytes, has no data.
    let hole = seek(&source, SeekFrom::Hole(0)).unwrap_or(0);
    if hole == length || seek(&source, SeekFrom::Data(hole)).is_ok() {
        fs::copy(from, to).unwrap();
        return;
    }
    let target = File::create(to).unwrap();
    seek(&source, SeekFrom::Start(0)).unwrap();
    io::copy(&mut source.take(hole), &mut &target).unwrap();
    target.set_len(length).unwrap();
}
