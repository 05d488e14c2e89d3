//! What a process uses: CPU and memory, as the kernel counts them.
//!
//! Invariant: a process that is gone uses nothing that is known.

use std::fs;

/// Ticks of a second in `/proc`: Linux shows a hundred on every machine.
const TICKS_PER_SECOND: f64 = 100.0;

/// One process.
#[derive(Debug, Clone)]
pub struct Process {
    path: String,
}

impl Process {
    /// The process with this number.
    pub fn new(id: u32) -> Self {
        Self { path: format!("/proc/{id}") }
    }

    /// This process.
    pub fn own() -> Self {
        Self { path: "/proc/self".to_owned() }
    }

    /// Whether there is such a process.
    pub fn exists(&self) -> bool {
        fs::exists(&self.path).unwrap_or(false)
    }

    /// User and system time since its start.
    pub fn cpu_seconds(&self) -> Option<f64> {
        let text = fs::read_to_string(format!("{}/stat", self.path)).ok()?;
        // The name, in brackets, may hold anything; the fields behind it are numbers.
        let fields: Vec<&str> = text.rsplit(')').next()?.split_whitespace().collect();
        let ticks = |index: usize| fields.get(index).and_then(|field| field.parse::<f64>().ok());
        Some((ticks(11)? + ticks(12)?) / TICKS_PER_SECOND)
    }

    /// Resident memory.
    pub fn memory_bytes(&self) -> Option<u64> {
        let text = fs::read_to_string(format!("{}/status", self.path)).ok()?;
        let line = text.lines().find(|line| line.starts_with("VmRSS:"))?;
        line.split_whitespace().nth(1)?.parse::<u64>().ok().map(|kib| kib * 1_024)
    }
}

#[cfg(test)]
mod tests {
    use super::Process;

    #[test]
    fn this_process_has_memory_and_a_process_that_is_gone_has_none() {
        assert!(Process::own().memory_bytes().is_some_and(|bytes| bytes > 100_000));
        assert!(Process::own().cpu_seconds().is_some());
        let gone = Process::new(u32::MAX);
        assert!(!gone.exists());
        assert_eq!(gone.memory_bytes(), None);
    }
}
