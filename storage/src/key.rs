//! Keys: a tag, then fixed-width fields, big-endian, so that bytes sort like numbers.

use std::ops::Deref;

/// First byte of every key. The numbers are on disk for ever: never reuse one, only add.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Tag {
    /// Block: first offset (u64) -> a turn's events.
    Block = 1,
    /// Watermark of `state`: - -> offset.
    Watermark = 10,
    /// Current project: - -> `ProjectRow`.
    Project = 11,
    /// Last position: trigger (16), hash of stream (u64) -> `PositionRow`.
    Position = 12,
    /// Idempotency key: trigger (16), hash (u128) -> `OnceRow`.
    Once = 13,
    /// What the next runs of a trigger start with: trigger (16) -> `CursorRow`.
    Cursor = 14,
    /// Work order of which a run ended: offset -> `WorkOrderRow`.
    WorkOrder = 15,
    /// First runs that wait, as versions before wrote them: lane (18), bucket -> `WaitingRow`.
    Waiting = 16,
    /// Open run: offset of the work order -> `LeaseRow`.
    Lease = 17,
    /// Hold: lane (18) -> `HoldRow`.
    Hold = 18,
    /// Runs that wait again: lane (18), offset -> `AgainRow`.
    Again = 19,
    /// Open dead letter: offset -> -.
    DeadLetter = 20,
    /// Where a lane's waiting first runs begin, as versions before wrote it: lane (18) -> offset (u64 LE).
    Head = 21,
    /// First runs that were cancelled while they waited: offset -> -.
    Gone = 22,
    /// Exact counts: - -> `CountsRow`.
    Counts = 23,
    /// Trigger switched by hand: trigger (16) -> 0 or 1.
    Switch = 24,
    /// When an idempotency key is forgotten: time (u64), trigger (16), hash (u128) -> -.
    OnceUntil = 25,
    /// How many idempotency keys are remembered: - -> count (u64 LE).
    OnceCount = 26,
    /// Last warning: workflow (u64), trigger (16), concern (u8) -> time (u64 LE).
    Embargo = 40,
    /// Warning that waits to be delivered: offset -> the key of its embargo without the tag, time (u64 LE).
    Notice = 41,
    /// Last delivered warning: as `Embargo` -> time (u64 LE).
    Told = 42,
    /// How far content was wiped: content (u8), what bounds it (u64) -> `WipeRow`.
    Wipe = 50,
    /// What was cut off the history: - -> `CutRow`.
    Cut = 51,
    /// In the keyspace of the log: - -> first offset from which on every event is there (u64 LE), xxh3-64 of it.
    Dense = 52,
    /// Schedule that a trigger follows: trigger (16) -> `ScheduleRow`.
    Schedule = 27,
    /// Stream of which nothing was read yet and whose first number is due: trigger (16), hash of stream (u64) -> time.
    Stream = 43,
    /// What is open of a trigger: trigger (16) -> `OpenRow`.
    Open = 28,
    /// Triggers of work orders and dead letters that `Open` counts: bucket -> trigger (16) and `Bitmap` of each.
    Member = 29,
    /// Watermark of `views`: - -> offset.
    ViewsWatermark = 30,
    /// Work orders of a trigger: trigger (16), bucket -> `Bitmap`.
    ByTrigger = 31,
    /// Work orders by the state they ended in: state, bucket -> `Bitmap`.
    ByState = 32,
    /// Events that report on a run: offset of the work order, run, bucket -> `Bitmap`.
    Report = 33,
    /// Dead letters, open and closed: bucket -> `Bitmap`.
    Letters = 34,
    /// Runs that were asked for, and their work orders: bucket -> `Bitmap`.
    Requested = 35,
    /// How a dead letter ended: its offset -> offset of the `DeadLetterClosed` (u64 LE).
    LetterEnd = 36,
    /// Bulk request that goes on: its UUID (16) -> offset of its `BulkStarted` (u64 LE).
    Bulk = 57,
    /// Replay: its UUID (16) -> `ReplayRow`.
    Replay = 37,
    /// First runs that came to wait: workflow (u64), bucket -> `BacklogRow`.
    Backlog = 60,
    /// Those of a `Backlog` that wait no longer, while others do: workflow (u64), bucket -> `Bitmap`.
    Taken = 61,
}

/// A key, held inline.
#[derive(Clone, Copy)]
pub struct Key {
    length: u8,
    bytes: [u8; Key::BYTES_MAX],
}

impl Key {
    /// Most bytes of a key: of one that says when an idempotency key is forgotten.
    pub const BYTES_MAX: usize = 41;

    /// A key of this tag, with no fields yet.
    pub fn new(tag: Tag) -> Self {
        Self { length: 0, bytes: [0; Key::BYTES_MAX] }.bytes(&[tag as u8])
    }

    /// Takes over a key that was read.
    pub fn from_slice(slice: &[u8]) -> Self {
        Self { length: 0, bytes: [0; Key::BYTES_MAX] }.bytes(slice)
    }

    /// Adds bytes.
    pub fn bytes(mut self, more: &[u8]) -> Self {
        let start = usize::from(self.length);
        self.bytes[start..start + more.len()].copy_from_slice(more);
        self.length += more.len() as u8;
        self
    }

    /// Adds a byte.
    pub fn u8(self, value: u8) -> Self {
        self.bytes(&[value])
    }

    /// Adds a number of two bytes.
    pub fn u16(self, value: u16) -> Self {
        self.bytes(&value.to_be_bytes())
    }

    /// Adds a number of eight bytes.
    pub fn u64(self, value: u64) -> Self {
        self.bytes(&value.to_be_bytes())
    }

    /// Adds a number of sixteen bytes.
    pub fn u128(self, value: u128) -> Self {
        self.bytes(&value.to_be_bytes())
    }

    /// The number of eight bytes that it ends with.
    pub fn last_u64(&self) -> u64 {
        u64::from_be_bytes(
            self[self.len() - 8..].try_into().expect("the key ends with a number of eight bytes"),
        )
    }

    /// The first key after all that begin like this one.
    pub fn prefix_end(self) -> Self {
        let mut end = self;
        for index in (0..usize::from(self.length)).rev() {
            if end.bytes[index] < u8::MAX {
                end.bytes[index] += 1;
                end.length = index as u8 + 1;
                return end;
            }
        }
        unreachable!("no tag is 255")
    }
}

impl Deref for Key {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes[..usize::from(self.length)]
    }
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl Eq for Key {}

impl PartialOrd for Key {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Key {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (**self).cmp(&**other)
    }
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}
