//! An event as a line of JSON: the form in which logs leave a data dir and come into another.
//!
//! ```text
//! {"id": "0-42", "at": "2026-11-24T10:00:00.123456Z", "kind": "Received", "event": {...}, "check": "0123456789abcdef"}
//! ```
//! `event` has the fields of the struct of that name in `event/`, and nothing is left out of it. `check` is xxh3-64 of
//! shard (u8), offset (u64), time (u64), kind (u8), all little-endian, and the event's archive: it says whether the line
//! came back as the same event. A line that someone wrote by hand may leave it out.

mod base;
mod envelope;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use xxhash_rust::xxh3::Xxh3;

use crate::{
    block::archive_of,
    event::{Event, EventKind, Kind},
    place::{Offset, Place, ShardId, Timestamp},
};

pub use base::{BaseOf, BaseRow, Cut, key_of};
pub use envelope::{EXPORT_VERSION, Header, Trailer};

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    id: String,
    at: Timestamp,
    kind: String,
    event: Box<RawValue>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    check: Option<String>,
}

/// The line of an event, without its end.
pub fn write(event: &Event) -> String {
    let line = Line {
        id: format!("{}-{}", event.place.shard.0, event.place.offset.0),
        at: event.at,
        kind: event.kind.kind().name().to_owned(),
        event: event.kind.to_json(),
        check: Some(check_of(event)),
    };
    serde_json::to_string(&line).expect("what we write has text keys and finite numbers")
}

/// The event of a line, or what is wrong with it.
pub fn read(line: &str) -> Result<Event, String> {
    let line: Line = serde_json::from_str(line).map_err(|error| error.to_string())?;
    let place = line.id.split_once('-').and_then(|(shard, offset)| {
        Some(Place { shard: ShardId(shard.parse().ok()?), offset: Offset(offset.parse().ok()?) })
    });
    let place = place.ok_or_else(|| format!("`{}` is not SHARD-OFFSET", line.id))?;
    let kind = Kind::ALL.iter().find(|kind| kind.name() == line.kind);
    let kind = kind.ok_or_else(|| format!("this version knows no event `{}`", line.kind))?;
    let kind = EventKind::from_json(*kind, line.event.get()).map_err(|error| error.to_string())?;
    let event = Event { place, at: line.at, kind };
    match line.check {
        Some(check) if check != check_of(&event) => {
            Err("its check does not match: it was changed".to_owned())
        }
        _ => Ok(event),
    }
}

/// The check of an event: the same for the same event at the same place, whatever it was read from.
pub fn check_of(event: &Event) -> String {
    let mut hash = Xxh3::new();
    hash.update(&[event.place.shard.0]);
    hash.update(&event.place.offset.0.to_le_bytes());
    hash.update(&event.at.0.to_le_bytes());
    hash.update(&[event.kind.kind() as u8]);
    hash.update(&archive_of(&event.kind));
    format!("{:016x}", hash.digest())
}
