//! What the file system says of itself, and the few calls that make a change of a directory durable.

use std::{fs::File, io, path::Path};

/// Bytes that an ordinary writer may still use; unlimited when the file system does not say.
pub fn free_bytes(directory: &Path) -> u64 {
    match rustix::fs::statvfs(directory) {
        Ok(status) => status.f_bavail.saturating_mul(status.f_frsize),
        Err(_) => u64::MAX,
    }
}

/// Makes the names in a directory survive a power cut.
pub fn sync_directory(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}
