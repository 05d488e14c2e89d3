//! The one door into a shard: everything reaches it through a `Source`.
//!
//! Invariant: `release` is called once per offered command, in the order of the offers, and only after the
//! events of its turn are durable. `Ended` answers follow later, with the ticket of their `Accepted`.

use std::{any::Any, sync::Arc, time::Duration};

use bytes::Bytes;
use keyway_storage::{
    event::{Position, Reason, Received, TriggerId},
    limits::{BATCH_BYTES_MAX, BATCH_COMMANDS_MAX, BATCH_EVENTS_MAX},
    place::Timestamp,
};

use crate::{
    command::{Command, Receipt, ReplayWish, RunClaim, Ticket, Unusable},
    project::{Field, Project, Trigger, TriggerSection},
};

/// What feeds commands to a shard, on the shard's thread.
pub trait Source: Send {
    /// Takes note of the project: at open, and after each apply that is durable.
    fn tune(&mut self, project: &Arc<Project>, last: &dyn Positions);

    /// Says what the machine's clock shows, before `tune` and `offer`: once it was set back, the time of the log is ahead.
    fn note_wall(&mut self, _wall: Timestamp) {}

    /// Puts what there is into the batch, oldest first, while there is room. Never blocks.
    fn offer(&mut self, now: Timestamp, batch: &mut Batch);

    /// Begins runs that this source claimed in the turn under way and that someone waits for, before they are durable:
    /// nobody outside the process sees anything of a run before it is. Says how long their ends are worth waiting for.
    fn run_ahead(&mut self, _runs: Vec<Ahead>) -> Duration {
        Duration::ZERO
    }

    /// Tells the peers, now that it is durable. Leaves `receipts` empty.
    fn release(&mut self, receipts: &mut Vec<Receipt>);

    /// When `offer` has something without a ring of the bell.
    fn due(&self) -> Timestamp {
        Timestamp::NEVER
    }
}

/// A run that may begin before its claim is durable.
#[derive(Debug)]
pub struct Ahead {
    /// The claim.
    pub claim: RunClaim,
    /// Its input, where that is of the same turn and cannot be read from the log yet.
    pub input: Option<Received>,
}

/// The last position of each stream, from the log.
pub trait Positions {
    /// The number of the last input of this stream of this trigger, if there was one.
    fn last(&self, trigger: TriggerId, stream: &str) -> Option<u64>;

    /// Whether a trigger takes inputs: what was said by hand counts until the next project file.
    fn is_enabled(&self, _trigger: TriggerId, in_file: bool) -> bool {
        in_file
    }

    /// Since when a trigger follows the schedule that it follows now; `None` while it follows none.
    fn since(&self, _trigger: TriggerId) -> Option<Timestamp> {
        None
    }
}

/// What the project file must know of a trigger type. Unit structs in a static list.
pub trait TriggerType: Sync {
    /// The word after `type:` in a project file; stored, never rename.
    fn name(&self) -> &'static str;

    /// A key at the top of the project file that belongs to this type, for what its triggers share.
    fn shared(&self) -> Option<&'static str> {
        None
    }

    /// Reads the value of that key, noting every mistake.
    fn check_shared(&self, _field: &Field) -> Arc<dyn Any + Send + Sync> {
        Arc::new(())
    }

    /// The ordering key of an input as its sender wrote it, for people who look at what is blocked.
    fn ordering_key(&self, _trigger: &Trigger, _input: &Received) -> Option<Bytes> {
        None
    }

    /// Reads the payload of a dead letter as that of a new input would be read; `None` is Kafka's null.
    fn read(&self, _trigger: &Trigger, raw: Option<&[u8]>) -> Result<Bytes, Unusable> {
        json_object(raw)
    }

    /// Which inputs a stored one keeps its order with, by the trigger's settings of today.
    fn order(&self, _trigger: &Trigger, _stored: &Stored) -> Order {
        Order::default()
    }

    /// Reads the settings that are the type's own, noting every mistake in the section.
    fn check(&self, section: &mut TriggerSection) -> Arc<dyn Any + Send + Sync>;
}

/// An input as it is stored.
#[derive(Debug, Clone, Copy)]
pub struct Stored<'a> {
    /// What made it the same input when it came again.
    pub position: &'a Position,
    /// JSON of its metadata.
    pub request: &'a Bytes,
    /// JSON of its body.
    pub body: &'a Bytes,
}

/// Which inputs one keeps its order with.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Order {
    /// Hash of its ordering key, if the trigger orders by key and the input has one.
    pub key: Option<u64>,
    /// Hash of the stream that it belongs to, such as a Kafka partition; 0 when there is none.
    pub stream: u64,
    /// Whether the key alone says which shard it goes to; otherwise it stays with its stream.
    pub by_key: bool,
}

/// A payload that must be a JSON object.
fn json_object(raw: Option<&[u8]>) -> Result<Bytes, Unusable> {
    let unusable = |reason, detail: String| {
        let raw = raw.map(Bytes::copy_from_slice);
        Err(Unusable { raw, reason, detail: detail.into() })
    };
    let Some(bytes) = raw else {
        return unusable(Reason::NotAnObject, "It is null.".to_owned());
    };
    match serde_json::from_slice::<serde_json::Value>(bytes) {
        Ok(serde_json::Value::Object(_)) => Ok(Bytes::copy_from_slice(bytes)),
        Ok(_) => unusable(Reason::NotAnObject, "It is JSON, but not an object.".to_owned()),
        Err(error) => unusable(Reason::InvalidJson, format!("It is not JSON: {error}.")),
    }
}

/// A run's end may be followed by a hold, a new run, a cursor, and a warning.
const EVENTS_AFTER_END: usize = 4;

/// What one turn will decide, in order.
#[derive(Debug)]
pub struct Batch {
    commands: Vec<(usize, Ticket, Command)>,
    bytes: usize,
    events: usize,
    origin: usize,
    takes_file: bool,
}

impl Default for Batch {
    fn default() -> Self {
        Self { commands: Vec::new(), bytes: 0, events: 0, origin: 0, takes_file: true }
    }
}

impl Batch {
    /// Whether a command of so many bytes fits.
    pub fn has_room(&self, bytes: usize) -> bool {
        self.commands.len() < BATCH_COMMANDS_MAX
            && self.bytes + bytes <= BATCH_BYTES_MAX
            && self.events < BATCH_EVENTS_MAX
    }

    /// Adds a command of so many bytes; ask `has_room` first.
    pub fn push(&mut self, ticket: Ticket, command: Command, bytes: usize) {
        assert!(self.has_room(bytes));
        self.bytes += bytes;
        self.events += match &command {
            Command::Report(report) => report.events.len() + EVENTS_AFTER_END,
            // A dead letter makes a work order and is closed.
            Command::Replay(ReplayWish::Items { items, .. }) => 2 * items.len(),
            _ => 1,
        };
        self.commands.push((self.origin, ticket, command));
    }

    /// Counts what the turn has decided already, so that what is added fits beside it. A project file is left to the next
    /// turn: room on the disk was found for a block without one.
    pub fn resume(&mut self, events: usize, bytes: usize) {
        (self.events, self.bytes) = (events, bytes);
        self.takes_file = false;
    }

    /// Says that something is due under the project in force that is not in the log yet.
    pub fn note_owed(&mut self) {
        self.takes_file = false;
    }

    /// Whether the project in force may be replaced in this turn.
    pub fn takes_file(&self) -> bool {
        self.takes_file
    }

    /// Says which source offers from now on.
    pub fn set_origin(&mut self, origin: usize) {
        self.origin = origin;
    }

    /// Takes the commands out, each with the source that offered it, and empties the batch.
    pub fn drain(&mut self) -> impl Iterator<Item = (usize, Ticket, Command)> + '_ {
        self.bytes = 0;
        self.events = 0;
        self.takes_file = true;
        self.commands.drain(..)
    }

    /// How many commands there are.
    pub fn len(&self) -> usize {
        self.commands.len()
    }

    /// Whether there is nothing to decide.
    pub fn is_empty(&self) -> bool {
        self.commands.is_empty()
    }
}
