//! The one call of the system that no safe crate has.

#![allow(unsafe_code)]

use std::{fs::File, os::fd::AsRawFd};

/// Has the system begin to write out these bytes of a file, sync_file_range(2). Where it does not, it does so later.
pub fn begin_to_write_out(file: &File, from: u64, bytes: u64) {
    let (from, bytes) = (from.cast_signed(), bytes.cast_signed());
    // SAFETY: The file is open, and no memory of ours is touched.
    let _ = unsafe { libc::sync_file_range(file.as_raw_fd(), from, bytes, libc::SYNC_FILE_RANGE_WRITE) };
}
