//! One archive per event, and a decoder for every schema version that was ever written.
//!
//! Invariant: an archive is validated before it is used; what does not validate is damage, never a panic.

use bytes::Bytes;
use rkyv::{
    Archive, Deserialize, access,
    api::high::HighValidator,
    api::{deserialize_using, high::to_bytes_in},
    bytecheck::CheckBytes,
    rancor::{Failure, Panic, Strategy},
};

use crate::{
    error::Damage,
    event::{EventKind, Kind, SharedSource},
};

/// The version of every kind's shape that is written today. A changed shape gets its own number and a decoder below.
pub const SCHEMA: u8 = 1;

/// The archive that is decoded, as a part of its block.
struct Archived<'a>(&'a Bytes);

impl SharedSource for Strategy<Archived<'_>, Failure> {
    fn share(&mut self, slice: &[u8]) -> Bytes {
        self.0.slice_ref(slice)
    }
}

macro_rules! kinds {
    ($($name:ident),*) => {
        /// Appends the archive of an event.
        pub fn encode(kind: &EventKind, out: &mut Vec<u8>) {
            match kind {
                $(EventKind::$name(event) => {
                    let buffer = std::mem::take(out);
                    // The writer is memory and the sizes are bounded: there is nothing that can fail.
                    let Ok(buffer) = to_bytes_in::<_, Panic>(event, buffer);
                    *out = buffer;
                })*
            }
        }

        /// Reads an archive of this kind and schema version.
        pub fn decode(kind: Kind, schema: u8, archive: &Bytes) -> Result<EventKind, Damage> {
            if schema != SCHEMA {
                return Err(Damage::new("event", "its schema version is unknown to this version"));
            }
            match kind {
                $(Kind::$name => decode_as::<crate::event::$name>(archive).map(EventKind::$name),)*
            }
        }
    };
}
kinds!(
    Opened,
    ProjectApplied,
    Received,
    DeadLettered,
    DeadLetterClosed,
    TickSkipped,
    RunsClaimed,
    LeaseExpired,
    RunRequested,
    RunStarted,
    RunFinished,
    StepStarted,
    StepFinished,
    LogWritten,
    CancelRequested,
    Held,
    Released,
    ReplayStarted,
    ReplayEnded,
    Noticed,
    Carried,
    TriggerSwitched,
    Warned,
    ReplaySwitched,
    ReplayItemFailed,
    ReplayFailed,
    CursorSet,
    SchedulesSet,
    StreamMoved,
    ClockSet,
    Wiped,
    HistoryCut,
    HistoryTrimmed,
    CutAway,
    BulkStarted,
    BulkEnded,
    LeaseReturned
);

fn decode_as<T>(archive: &Bytes) -> Result<T, Damage>
where
    T: Archive,
    T::Archived: for<'a> CheckBytes<HighValidator<'a, Failure>>
        + for<'a> Deserialize<T, Strategy<Archived<'a>, Failure>>
        + rkyv::Portable,
{
    let invalid = |_| Damage::new("event", "its archive is not valid");
    let archived = access::<T::Archived, Failure>(archive).map_err(invalid)?;
    deserialize_using(archived, &mut Archived(archive)).map_err(invalid)
}
