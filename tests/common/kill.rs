//! Kills (-9) at exact steps: `kill.c` stands between keyway and the C library, and kills it as it does one thing.

use std::path::Path;

use super::preload;

/// The signal that such a process ends with.
pub const SIGKILL: i32 = 9;

/// A step on the way to the disk, and how often it is passed before the kill.
pub type Kill = (&'static str, u32);

/// The environment of a process that is killed at this step, once a file is there.
pub fn variables((step, after): Kill, when: &Path) -> [(&'static str, String); 4] {
    [
        ("LD_PRELOAD", preload::library("common/kill.c")),
        ("KILL_AT", step.to_owned()),
        ("KILL_AFTER", after.to_string()),
        ("KILL_WHEN", when.to_str().unwrap().to_owned()),
    ]
}
