//! Bounds of what is thrown away, and of the copies of what is kept.

use super::{DISK_RESERVE_BYTES, SETTLE_MS};

/// Longest time to keep something, a hundred years: longer than any law asks for, and far from the end of the clock.
pub const RETENTION_DAYS_MAX: u64 = 36_500;
/// How often a shard looks whether the time of something is over; periods are whole days.
pub const WIPE_INTERVAL_MS: u64 = 60_000;
/// The same while a workflow keeps nothing beyond its runs.
pub const WIPE_SOON_MS: u64 = 5_000;
/// How long an end is left as it is, however short the period: whoever waited for it is told from the log.
pub const WIPE_GRACE_MS: u64 = 5_000;
/// Most ended runs whose content is taken out after one turn. Bounds the time that the next turn waits.
pub const WIPE_ENDS_PER_TURN_MAX: usize = 64;
/// Most events that are looked at after one turn for such ends; each costs a look at its kind.
pub const WIPE_LOOKS_PER_TURN_MAX: usize = 16_384;
/// As so many looks counts the end of something that is kept otherwise: it is read to know whose it is.
pub const WIPE_LOOKS_PER_OTHER_END: usize = 32;
/// Offsets without anything to wipe after which it is noted how far the look has come: a start looks at no more anew.
pub const WIPE_NOTE_OFFSETS: u64 = 65_536;
/// Bytes that were taken out after which the disk gets them back.
pub const WIPE_SHRINK_BYTES: u64 = 64 << 20;
/// Longest time until the disk gets back what was taken out, however little it is.
pub const WIPE_SHRINK_MS: u64 = 600_000;
/// Bytes that must be free before the log is shrunk: it writes some files anew before it deletes the old ones, and appends
/// must find theirs meanwhile.
pub const SHRINK_ROOM_BYTES_MIN: u64 = 512 << 20;

const _: () = assert!(SHRINK_ROOM_BYTES_MIN > 4 * DISK_RESERVE_BYTES);
// Whoever waits for an end longest is told before its content goes.
const _: () = assert!(WIPE_GRACE_MS > SETTLE_MS);
/// Smallest limit of bytes that are kept: below it, what is open and the blocks of one turn are all that there is.
pub const RETENTION_BYTES_MIN: u64 = 1 << 20;
/// Most parts in which the bytes of what ended are counted, for each limit: what is not exact is less than one of them.
pub const TALLY_CHUNKS_MAX: usize = 256;
/// How often a shard looks whether its log is larger than it may be.
pub const CUT_INTERVAL_MS: u64 = 1_000;
/// Most work orders and dead letters whose history is cut after one turn. Bounds the event that names them.
pub const CUT_ENDS_PER_TURN_MAX: usize = 128;
/// Events that are folded into the base, or looked at to be taken out of the log, after one turn; a block is one look.
pub const CUT_EVENTS_PER_TURN_MAX: usize = 256;
/// For how long nothing is cut after a request of an export that takes the base along: more than a slow reader takes
/// between two of them.
pub const EXPORT_HOLD_MS: u64 = 60_000;
/// For how long exports may keep a cut from going on, however many there are: the log grows meanwhile.
pub const EXPORT_HOLDS_MS_MAX: u64 = 3_600_000;
/// Rows of the base that are copied between two commits.
pub const RESTORE_ROWS_MAX: usize = 4_096;
