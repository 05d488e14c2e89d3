//! A small disk of a test's own, a mounted tmpfs that can be filled.
//!
//! Invariant: it is gone when it is dropped. Where mounting is not allowed the test fails, unless it was asked to be left
//! out: a test that shows nothing must not pass by itself.

use std::{
    env,
    fs::{self, File},
    io::Write,
    path::Path,
    process::Command,
};

use rustix::fs::statvfs;

use super::stderr;

/// Below the reserve of 64 MiB at which inputs are refused.
const LEFT_BYTES: u64 = 40 << 20;
/// Set where nobody may mount a disk: tests that need one are left out.
const NO_MOUNT: &str = "KEYWAY_TEST_NO_MOUNT";

/// A disk of its own.
pub struct Disk {
    home: tempfile::TempDir,
}

impl Disk {
    /// Mounts a disk that holds the project file; `None` where the test is to be left out.
    pub fn mount(project: &str) -> Option<Self> {
        Self::mount_of(256, project)
    }

    /// The same, of so many MiB.
    pub fn mount_of(size_mib: u32, project: &str) -> Option<Self> {
        if env::var_os(NO_MOUNT).is_some() {
            eprintln!("left out: {NO_MOUNT} is set");
            return None;
        }
        let disk = Self { home: tempfile::tempdir().unwrap() };
        let size = format!("size={size_mib}m");
        disk.run("mount", &["-t", "tmpfs", "-o", &size, "keyway"]);
        fs::write(disk.path().join("project.yaml"), project).unwrap();
        Some(disk)
    }

    /// Makes it one that cannot be written; nobody may have files open for that.
    pub fn make_read_only(&self) {
        self.run("mount", &["-o", "remount,bind,ro"]);
    }

    fn run(&self, program: &str, arguments: &[&str]) {
        let output = Command::new(program).args(arguments).arg(self.path()).output().unwrap();
        assert!(
            output.status.success(),
            "{program} {arguments:?}: {}\nrun this as root, or set {NO_MOUNT} to leave it out",
            stderr(&output)
        );
    }

    /// Its folder.
    pub fn path(&self) -> &Path {
        self.home.path()
    }

    /// Leaves less room than inputs need.
    pub fn fill(&self) {
        self.fill_to(LEFT_BYTES);
    }

    /// Leaves so much room.
    pub fn fill_to(&self, left_bytes: u64) {
        let disk = statvfs(self.path()).unwrap();
        let mut left = (disk.f_bavail * disk.f_frsize).saturating_sub(left_bytes);
        let mut file = File::options().create(true).append(true).open(self.path().join("ballast")).unwrap();
        while left > 0 {
            let bytes = left.min(1 << 20);
            file.write_all(&vec![1; bytes as usize]).unwrap();
            left -= bytes;
        }
    }

    /// Takes away what fills it.
    pub fn make_room(&self) {
        fs::remove_file(self.path().join("ballast")).unwrap();
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Lazily: a killed server may still be on its way out.
        let _ = Command::new("umount").arg("-l").arg(self.path()).status();
    }
}
