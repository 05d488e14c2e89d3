//! Folders that are soon gone.

use tempfile::TempDir;

/// Memory that is a folder, where the system has it.
const SHARED_MEMORY: &str = "/dev/shm";

/// A folder for one of hundreds of copies that are read and thrown away. Not on the disk: ext4 takes long to make files
/// where many have just been deleted.
pub fn brief() -> TempDir {
    tempfile::tempdir_in(SHARED_MEMORY).or_else(|_| tempfile::tempdir()).unwrap()
}
