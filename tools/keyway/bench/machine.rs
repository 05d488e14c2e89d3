//! The machine that a bench ran on, and the program that it measured.
//!
//! Invariant: the disk is asked itself: how long fdatasync takes is measured before every bench, on the disk that it uses.

use std::{
    env,
    fs::{self, File},
    io::Write,
    path::Path,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize};

use super::{load::interval::Interval, report::Build};
use crate::failure::Failure;

/// What is written before each sync: the bytes of a small turn.
const SYNC_BYTES: usize = 16 << 10;
/// Longest time for asking the disk.
const ASK_SECONDS_MAX: u64 = 1;
/// Most syncs of asking the disk.
const ASK_SYNCS_MAX: usize = 1_000;

/// A machine.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Machine {
    /// Cores that this process may use.
    pub cores: u64,
    /// Name of the processor.
    pub processor: String,
    /// Memory.
    pub memory_bytes: u64,
    /// Release of the kernel.
    pub kernel: String,
    /// The disk that was written to.
    pub disk: Disk,
}

/// A disk.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Disk {
    /// Its file system.
    pub file_system: String,
    /// Half of its fdatasyncs of 16 KiB took less, in microseconds.
    pub fdatasync_p50_us: f64,
    /// All but one of a hundred took less, in microseconds.
    pub fdatasync_p99_us: f64,
}

impl Machine {
    /// This machine, with the disk under a folder.
    pub fn look(folder: &Path) -> Result<Self, Failure> {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let field = |text: &str, name: &str| {
            let line = text.lines().find(|line| line.starts_with(name)).unwrap_or_default();
            line.split_once(':').map(|(_, value)| value.trim().to_owned()).unwrap_or_default()
        };
        let memory = field(&read("/proc/meminfo"), "MemTotal");
        let kib = memory.split(' ').next().and_then(|kib| kib.parse::<u64>().ok()).unwrap_or_default();
        Ok(Self {
            cores: thread::available_parallelism().map_or(1, |cores| cores.get() as u64),
            processor: field(&read("/proc/cpuinfo"), "model name"),
            memory_bytes: kib * 1_024,
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            disk: ask(folder)?,
        })
    }
}

/// How fast the disk under a folder syncs.
fn ask(folder: &Path) -> Result<Disk, Failure> {
    let path = folder.join("sync");
    let failed = |error| Failure::Failed(format!("{}: cannot be written to: {error}", folder.display()));
    let mut file = File::create(&path).map_err(failed)?;
    let (bytes, mut syncs) = (vec![1; SYNC_BYTES], Interval::default());
    let until = Instant::now() + Duration::from_secs(ASK_SECONDS_MAX);
    for _ in 0..ASK_SYNCS_MAX {
        file.write_all(&bytes).map_err(failed)?;
        let started = Instant::now();
        file.sync_data().map_err(failed)?;
        syncs.note_latency(started.elapsed());
        if Instant::now() >= until {
            break;
        }
    }
    fs::remove_file(&path).map_err(failed)?;
    Ok(Disk {
        file_system: file_system(folder).unwrap_or_default(),
        fdatasync_p50_us: syncs.percentile_us(50.0),
        fdatasync_p99_us: syncs.percentile_us(99.0),
    })
}

/// The kind of file system that a folder is on: that of the mount with the longest path above it.
fn file_system(folder: &Path) -> Option<String> {
    let folder = folder.canonicalize().ok()?;
    let mounts = fs::read_to_string("/proc/self/mounts").ok()?;
    let mounts = mounts.lines().filter_map(|line| {
        let mut fields = line.split(' ').skip(1);
        Some((fields.next()?.to_owned(), fields.next()?.to_owned()))
    });
    let above = mounts.filter(|(path, _)| folder.starts_with(path));
    above.max_by_key(|(path, _)| path.len()).map(|(_, kind)| kind)
}

/// The program that is running. Its commit is the one that it was built with the knowledge of, or that of the repository
/// it lies in.
pub fn build() -> Build {
    let commit = option_env!("KEYWAY_COMMIT").map(str::to_owned).or_else(|| {
        let program = env::current_exe().ok()?;
        let mut command = Command::new("git");
        command.arg("-C").arg(program.parent()?).args(["describe", "--always", "--dirty", "--exclude", "*"]);
        let output = command.output().ok().filter(|output| output.status.success())?;
        let text = String::from_utf8(output.stdout).ok()?;
        Some(text.trim().to_owned()).filter(|text| !text.is_empty())
    });
    let profile = if cfg!(debug_assertions) { "debug" } else { "release" };
    Build { version: env!("CARGO_PKG_VERSION").to_owned(), commit, profile: profile.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::file_system;
    use std::path::Path;

    #[test]
    fn proc_lies_on_a_file_system_of_its_own() {
        assert_eq!(file_system(Path::new("/proc/self")).as_deref(), Some("proc"));
    }
}
