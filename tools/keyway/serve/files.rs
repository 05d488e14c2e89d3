//! Open files: how many this process may have, and how many of them connections may take.
//!
//! Invariant: connections never take the files that the store needs; rather there are fewer connections than wanted.

use keyway_storage::limits::FILES_RESERVED;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Raises the limit of open files as far as it may be raised, and gives it.
pub fn raise() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    let most = limit.maximum.unwrap_or(u64::MAX);
    let now = limit.current.unwrap_or(u64::MAX);
    if now >= most {
        return now;
    }
    match setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum }) {
        Ok(()) => most,
        Err(error) => {
            tracing::warn!(%error, "the limit of open files cannot be raised");
            now
        }
    }
}

/// Most connections of each of the doors when `wanted` are wanted and `files` may be open.
pub fn connections_max(wanted: u32, doors: usize, files: u64) -> usize {
    // Where there are few files at all, half of them.
    let free = files.saturating_sub(FILES_RESERVED).max(files / 2);
    let each = free / doors.max(1) as u64;
    if each < u64::from(wanted) {
        tracing::warn!(
            files,
            "the limit of open files leaves {each} connections for each of {doors} doors, not {wanted}: raise it \
             (ulimit -n, LimitNOFILE) or lower --connections-max"
        );
    }
    each.min(u64::from(wanted)) as usize
}

#[cfg(test)]
mod tests {
    use super::connections_max;

    #[test]
    fn connections_leave_files_to_the_store() {
        assert_eq!(connections_max(10_000, 2, 1_000_000), 10_000);
        assert_eq!(connections_max(10_000, 2, 20_000), 9_488);
        assert_eq!(connections_max(10_000, 2, 1_024), 256);
    }
}
