//! Blocked keys: what waits behind a failure until someone decides.
//!
//! Invariant: a key is shown and named in base64, of the bytes that its sender wrote. What has no key has a name that is
//! nobody's base64: `-` is a whole workflow with concurrency 1, `-TOPIC:PARTITION` a whole Kafka partition. No name means
//! one of several.

use base64::{
    Engine,
    engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE_NO_PAD},
};
use bytes::Bytes;
use keyway_engine::{
    command::{Answer, Command, Refusal, Release},
    project::{Ordering, Trigger, Workflow},
    run::run_state_name,
    shard::ShardReader,
    view::{blocked::blocked, run::received},
};
use keyway_storage::{
    event::{LaneId, Received},
    limits::{BLOCKED_KEYS_SHOWN_MAX, ORDERING_KEY_BYTES_SHOWN_MAX},
    place::{Place, ShardId, Timestamp},
    table::{HoldRow, Table, WorkOrderRow},
};
use serde_json::{Value, json};

use super::{
    ApiError, Reply,
    call::Call,
    document::Document,
    trigger::{no_trigger, show_trigger, trigger_named},
};
use crate::{time::rfc3339, trigger::adapter};

/// Begins the name of what has no key, in a URL.
const NO_KEY: &str = "-";

/// A key, or a whole lane, that is blocked.
struct Blocked {
    shard: ShardId,
    lane: LaneId,
    hold: HoldRow,
    /// What its sender wrote; `None` for a whole lane.
    key: Option<Bytes>,
    /// Topic and partition of Kafka that it came from.
    origin: Option<(String, i64)>,
    /// When the work order that failed was made.
    made: Timestamp,
}

/// `POST /api/triggers/ID/blocked_keys/KEY/retry`.
pub fn retry(call: &Call) -> Reply {
    release(call, false)
}

/// `POST /api/triggers/ID/blocked_keys/KEY/skip`.
pub fn skip(call: &Call) -> Reply {
    release(call, true)
}

fn release(call: &Call, skip: bool) -> Reply {
    call.body(&[])?;
    let id = trigger_named(call.id)?;
    let project = call.current()?.ok_or_else(|| no_trigger(call.id))?;
    let (workflow, trigger) = project.trigger(id).ok_or_else(|| no_trigger(call.id))?;
    let wanted = Name::read(call.key)?;
    let all = call.blocked(workflow, trigger)?;
    let missing = || ApiError::not_found(format!("This trigger has no blocked key {}.", call.key));
    let mut fitting = all.iter().filter(|blocked| wanted.is_of(blocked));
    let found = fitting.next().ok_or_else(missing)?;
    if fitting.next().is_some() {
        let names = "name one of them as `name` does in the trigger's `blocked_keys`";
        return Err(ApiError::conflict(format!("{} are several here: {names}.", call.key)));
    }
    match call.ask(found.shard, Command::Release(Release { lane: found.lane, skip }))? {
        Answer::Done => show_trigger(&call.again()),
        // Someone else was faster.
        Answer::Refused(Refusal::NotFound) => Err(missing()),
        other => Err(ApiError::unexpected(other)),
    }
}

/// What a segment of a URL names.
enum Name {
    Key(Vec<u8>),
    /// Whatever has no key.
    Keyless,
    /// A partition of Kafka: `-TOPIC:PARTITION`.
    Partition(String),
}

impl Name {
    /// Reads base64 of either alphabet, padded or not, or the name of what has no key.
    fn read(segment: &str) -> Result<Self, ApiError> {
        if segment == NO_KEY {
            return Ok(Self::Keyless);
        }
        let partition = segment.replace("%3A", ":").replace("%3a", ":");
        if partition.starts_with(NO_KEY) && partition.contains(':') {
            return Ok(Self::Partition(partition));
        }
        let mut text = segment.replace('-', "+").replace('_', "/");
        for (escaped, character) in
            [("%2B", "+"), ("%2b", "+"), ("%2F", "/"), ("%2f", "/"), ("%3D", ""), ("%3d", "")]
        {
            text = text.replace(escaped, character);
        }
        let decoded = STANDARD_NO_PAD.decode(text.trim_end_matches('='));
        decoded.map(Self::Key).map_err(|_| ApiError::not_found(format!("{segment} is not a key in base64.")))
    }

    fn is_of(&self, blocked: &Blocked) -> bool {
        match (self, &blocked.key) {
            (Self::Key(wanted), Some(key)) => wanted[..] == key[..],
            (Self::Keyless, None) => true,
            (Self::Partition(wanted), None) => {
                blocked.origin.as_ref().map(partition_name).as_ref() == Some(wanted)
            }
            _ => false,
        }
    }
}

fn partition_name((topic, partition): &(String, i64)) -> String {
    format!("{NO_KEY}{topic}:{partition}")
}

impl Call<'_> {
    /// A trigger's attributes with its blocked keys, the longest blocked first.
    pub fn with_blocked_keys(
        &self,
        attributes: Document,
        workflow: &Workflow,
        trigger: &Trigger,
    ) -> Result<Document, ApiError> {
        let mut all = self.blocked(workflow, trigger)?;
        all.sort_by_key(|blocked| blocked.hold.since);
        let shown = self.first_shown(&all, workflow, trigger)?;
        Ok(attributes.with("blocked_keys", shown).with("blocked_keys_count", all.len()))
    }

    /// Adds to each partition of Kafka the keys of its messages that are blocked.
    pub fn with_blocked_partitions(
        &self,
        partitions: &mut [Value],
        workflow: &Workflow,
        trigger: &Trigger,
    ) -> Result<(), ApiError> {
        let mut all = self.blocked(workflow, trigger)?;
        all.sort_by_key(|blocked| blocked.hold.since);
        for partition in partitions {
            let is_here = |(topic, number): &(String, i64)| {
                partition["topic"] == topic.as_str() && partition["partition"] == *number
            };
            let here: Vec<_> =
                all.iter().filter(|blocked| blocked.origin.as_ref().is_some_and(is_here)).collect();
            partition["blocked_keys_count"] = here.len().into();
            partition["blocked_keys"] = Value::Array(self.first_shown(here, workflow, trigger)?);
        }
        Ok(())
    }

    fn blocked(&self, workflow: &Workflow, trigger: &Trigger) -> Result<Vec<Blocked>, ApiError> {
        let mut found = Vec::new();
        for reader in &self.readers {
            for (lane, hold) in blocked(reader, workflow.id)? {
                // A lane does not say which trigger filled it; what failed does.
                let Some((event, input)) = received(reader, hold.work_order)? else { continue };
                if input.trigger != trigger.id {
                    continue;
                }
                let kind = adapter(trigger.kind).map(|(_, adapter)| adapter);
                let key = kind.and_then(|kind| kind.ordering_key(trigger, &input));
                let key = key
                    .filter(|_| lane.key != 0)
                    .map(|key| key.slice(..key.len().min(ORDERING_KEY_BYTES_SHOWN_MAX)));
                let (shard, origin, made) = (reader.shard, origin(&input), event.at);
                found.push(Blocked { shard, lane, hold, key, origin, made });
            }
        }
        Ok(found)
    }

    fn first_shown<'b>(
        &self,
        all: impl IntoIterator<Item = &'b Blocked>,
        workflow: &Workflow,
        trigger: &Trigger,
    ) -> Result<Vec<Value>, ApiError> {
        let first = all.into_iter().take(BLOCKED_KEYS_SHOWN_MAX);
        first.map(|blocked| self.shown(blocked, workflow, trigger)).collect()
    }

    fn shown(&self, blocked: &Blocked, workflow: &Workflow, trigger: &Trigger) -> Result<Value, ApiError> {
        let place = Place { shard: blocked.shard, offset: blocked.hold.work_order };
        let is_stream = trigger.ordering == Ordering::Partition && workflow.concurrency != Some(1);
        let name = match (&blocked.key, &blocked.origin) {
            (Some(key), _) => URL_SAFE_NO_PAD.encode(key),
            (None, Some(origin)) if is_stream => partition_name(origin),
            (None, _) => NO_KEY.to_owned(),
        };
        Ok(json!({
            "name": name,
            "key_base64": blocked.key.as_ref().map(|key| STANDARD.encode(key)),
            "work_order_id": self.api.ids.work_order(place, blocked.made).to_string(),
            "since": rfc3339(blocked.hold.since),
            "reason": reason(self.reader(blocked.shard)?, &blocked.hold)?,
        }))
    }
}

/// Topic and partition of a message of Kafka.
fn origin(input: &Received) -> Option<(String, i64)> {
    let request: Value = serde_json::from_slice(&input.request).ok()?;
    Some((request["topic"].as_str()?.to_owned(), request["partition"].as_i64()?))
}

/// What went wrong with the work order that blocks.
fn reason(reader: &ShardReader, hold: &HoldRow) -> Result<String, ApiError> {
    let row = reader.state.get(&WorkOrderRow::key(hold.work_order))?;
    let row = row.map(|value| WorkOrderRow::from_value(&value)).transpose()?;
    let Some(run) = row.as_ref().and_then(|row| row.runs.last()) else { return Ok(String::new()) };
    let state = run_state_name(run.state);
    Ok(run
        .error
        .as_ref()
        .map_or_else(|| state.to_owned(), |error| format!("{}: {}", error.kind, error.message)))
}
