//! Dead letters: inputs that could not become work orders, whole, with what became of them.

use base64::{
    Engine,
    engine::general_purpose::{STANDARD, STANDARD_NO_PAD},
};
use hyper::StatusCode;
use keyway_engine::{
    command::{Answer, Command, Discard, Refusal},
    view::list::{LetterFilter, dead_letters, letter_end},
};
use keyway_storage::{
    event::{DeadLettered, Event, EventKind, LetterEnd},
    id::What,
    limits::{DISCARD_REASON_CHARACTERS_MAX, PAYLOAD_BYTES_MAX},
    place::Place,
};
use serde_json::{Map, Value, json};

use super::{
    ApiError, Reply,
    call::Call,
    document::Document,
    page::{self, Asked},
    replay::{
        item::{Hindrance, of_letter},
        range::KafkaRange,
    },
    shape::{reason_name, reason_named, trigger_uuid},
};
use crate::{time::rfc3339, trigger::kafka::message::stored_bytes};

/// `GET /api/dead_letters`.
pub fn list_dead_letters(call: &Call) -> Reply {
    let asked = Asked::read(call)?;
    let behind = match call.param("after") {
        Some(id) => Some(call.locate(&id, |what| what == What::DeadLetter)?.1),
        None => None,
    };
    let open = match call.param("state").as_deref() {
        None => None,
        Some("open") => Some(true),
        Some("resolved") => Some(false),
        Some(_) => return Err(ApiError::invalid("`state` must be `open` or `resolved`.")),
    };
    let reason = call.param("reason").map(|name| reason_named(&name)).transpose()?;
    let (trigger, range) = (page::trigger(call)?, KafkaRange::of_query(call)?);
    let fits = |letter: &DeadLettered| {
        trigger.is_none_or(|trigger| trigger == letter.trigger)
            && reason.is_none_or(|reason| reason == letter.letter.reason)
            && range.as_ref().is_none_or(|range| range.holds(&letter.letter.request))
    };
    let found = dead_letters(&call.readers, &LetterFilter { open }, &asked.range(call, behind)?, fits)?;
    let letters = found.items.into_iter().skip(asked.skip());
    let (data, cut) = page::fill(letters, |(event, letter)| call.letter_item(event, letter))?;
    let next = match cut {
        Some((event, _)) => Some(event.place),
        None => found.next,
    };
    let next = next.map(|place| call.letter_id(place)).transpose()?;
    Ok((StatusCode::OK, asked.list(call, &data, next)))
}

/// `GET /api/dead_letters/ID`.
pub fn show_dead_letter(call: &Call) -> Reply {
    let (event, letter) = call.letter_named()?;
    Ok((StatusCode::OK, Document::data(call.letter_item(&event, &letter)?)))
}

/// `POST /api/dead_letters/ID/discard`.
pub fn discard(call: &Call) -> Reply {
    let (event, _) = call.letter_named()?;
    let reason = reason(&mut call.body(&["reason"])?)?;
    let discard = Discard { letter: event.place.offset, reason };
    match call.ask(event.place.shard, Command::Discard(discard))? {
        Answer::Done => show_dead_letter(&call.again()),
        Answer::Refused(Refusal::NotFound) => Err(resolved_before()),
        other => Err(ApiError::unexpected(other)),
    }
}

/// Why dead letters are given up, in the words of a body.
pub fn reason(body: &mut Map<String, Value>) -> Result<Box<str>, ApiError> {
    match body.remove("reason") {
        None | Some(Value::Null) => Ok("".into()),
        Some(Value::String(reason)) if reason.chars().count() <= DISCARD_REASON_CHARACTERS_MAX => {
            Ok(reason.into())
        }
        Some(_) => {
            let message =
                format!("`reason` must be text of at most {DISCARD_REASON_CHARACTERS_MAX} characters.");
            Err(ApiError::invalid(message))
        }
    }
}

/// `POST /api/dead_letters/ID/replay`: as it is, or with a corrected payload.
pub fn resend(call: &Call) -> Reply {
    let (event, letter) = call.letter_named()?;
    let corrected = match call.body(&["body_base64"])?.remove("body_base64") {
        None | Some(Value::Null) => None,
        Some(Value::String(text)) => Some(payload(&text)?),
        Some(_) => return Err(ApiError::invalid("`body_base64` must be text.")),
    };
    if letter_end(call.reader(event.place.shard)?, event.place.offset)?.is_some() {
        return Err(resolved_before());
    }
    let raw = corrected.as_deref().or(letter.letter.raw.as_deref());
    let project = call.current()?.ok_or_else(|| ApiError::conflict("There is no project."))?;
    let item = of_letter(&project, event.place, &letter, raw).map_err(|hindrance| match &hindrance {
        Hindrance::NoTrigger => ApiError::conflict(hindrance.detail()),
        Hindrance::Unusable(unusable) => {
            let code = reason_name(unusable.reason);
            ApiError::new(StatusCode::UNPROCESSABLE_ENTITY, code, hindrance.detail())
        }
    })?;
    match call.ask(event.place.shard, Command::Resend(item))? {
        Answer::Accepted(_) => show_dead_letter(&call.again()),
        Answer::Refused(Refusal::NotFound) => Err(resolved_before()),
        other => Err(ApiError::unexpected(other)),
    }
}

fn resolved_before() -> ApiError {
    ApiError::conflict("The dead letter was replayed or discarded before.")
}

/// A payload in base64, padded or not.
fn payload(text: &str) -> Result<Vec<u8>, ApiError> {
    let wrong = |_| ApiError::invalid("`body_base64` is not base64.");
    let payload = STANDARD_NO_PAD.decode(text.trim_end_matches('=')).map_err(wrong)?;
    if payload.len() > PAYLOAD_BYTES_MAX {
        let message = format!("A payload has at most {PAYLOAD_BYTES_MAX} bytes.");
        return Err(ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", message));
    }
    Ok(payload)
}

impl Call<'_> {
    fn letter_named(&self) -> Result<(Event, DeadLettered), ApiError> {
        let missing = || ApiError::not_found(format!("There is no dead letter with the id {}.", self.id));
        let (_, place) = self.locate(self.id, |what| what == What::DeadLetter)?;
        let event = self.reader(place.shard)?.log.event(place.offset)?.ok_or_else(missing)?;
        match event.kind.clone() {
            EventKind::DeadLettered(letter) => Ok((event, letter)),
            _ => Err(missing()),
        }
    }

    fn letter_id(&self, place: Place) -> Result<String, ApiError> {
        let block = self.reader(place.shard)?.log.block(place.offset)?;
        let block = block.ok_or_else(|| ApiError::internal("A dead letter is gone from the log."))?;
        Ok(self.api.ids.encode(What::DeadLetter, place, block.at()).to_string())
    }

    fn letter_item(&self, event: &Event, letter: &DeadLettered) -> Result<Document, ApiError> {
        let attributes = Document::default()
            .with("trigger_id", trigger_uuid(letter.trigger))
            .with("reason", reason_name(letter.letter.reason))
            .with("detail", &*letter.letter.detail)
            .with("inserted_at", rfc3339(event.at))
            .with("source", source(letter))
            .with("body_base64", letter.letter.raw.as_ref().map(|raw| STANDARD.encode(raw)))
            .with("resolved", self.resolved(event.place)?)
            .with_wiped(&letter.letter.request);
        let id = self.api.ids.encode(What::DeadLetter, event.place, event.at);
        Ok(Document::item("dead_letters", id, &attributes))
    }

    fn resolved(&self, letter: Place) -> Result<Value, ApiError> {
        let Some(event) = letter_end(self.reader(letter.shard)?, letter.offset)? else {
            return Ok(Value::Null);
        };
        let EventKind::DeadLetterClosed(closed) = &event.kind else { return Ok(Value::Null) };
        let (how, work_order, reason) = match &closed.end {
            LetterEnd::Discarded { reason } => ("discarded", None, Some(reason)),
            LetterEnd::Replayed { work_order } => {
                let block = self.reader(work_order.shard)?.log.block(work_order.offset)?;
                let id = block.map(|block| self.api.ids.work_order(*work_order, block.at()).to_string());
                ("replayed", id, None)
            }
        };
        let at = rfc3339(event.at);
        Ok(json!({ "how": how, "at": at, "work_order_id": work_order, "reason": reason }))
    }
}

/// Where a dead letter came from, in the words of the metadata that Kafka's messages carry.
fn source(letter: &DeadLettered) -> Value {
    let metadata: Map<String, Value> = serde_json::from_slice(&letter.letter.request).unwrap_or_default();
    let field = |name: &str| metadata.get(name).cloned().unwrap_or(Value::Null);
    let key = stored_bytes(&field("key")).map_or(Value::Null, |key| STANDARD.encode(key).into());
    json!({
        "topic": field("topic"),
        "partition": field("partition"),
        "kafka_offset": field("offset"),
        "timestamp": field("ts"),
        "key_base64": key,
        "headers": field("headers"),
    })
}
