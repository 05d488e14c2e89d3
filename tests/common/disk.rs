//! A small disk of a test's own, a mounted tmpfs that can be filled.
//!
//! Invariant: it is gone when it is dropped. Where mounting is not allowed there is none, and the test leaves off.

use std::{
    fs::{self, File},
    io::Write,
    path::Path,
    process::Command,
};

use rustix::fs::statvfs;

/// Below the reserve of 64 MiB at which inputs are refused.
const LEFT_BYTES: u64 = 40 << 20;

/// A disk of its own.
pub struct Disk {
    home: tempfile::TempDir,
}

impl Disk {
    /// Mounts a disk that holds the project file, or `None` where nobody may.
    pub fn mount(project: &str) -> Option<Self> {
        Self::mount_of(256, project)
    }

    /// The same, of so many MiB.
    pub fn mount_of(size_mib: u32, project: &str) -> Option<Self> {
        let home = tempfile::tempdir().unwrap();
        let size = format!("size={size_mib}m");
        let options = ["-t", "tmpfs", "-o", &size, "keyway"];
        let mounted = Command::new("mount").args(options).arg(home.path()).output();
        if !mounted.is_ok_and(|output| output.status.success()) {
            eprintln!("left out: mounting a disk is not allowed here");
            return None;
        }
        let disk = Self { home };
        fs::write(disk.path().join("project.yaml"), project).unwrap();
        Some(disk)
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
