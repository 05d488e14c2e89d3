//! A trigger's cursor: what its next run starts with, shown, set and cleared by hand.
//!
//! Invariant: a state goes in as its sender wrote it, without the space between its parts, and comes out like that.

use hyper::{Method, StatusCode};
use keyway_engine::{
    command::{Answer, Command, Refusal, SetCursor},
    project::Cursor,
    route::ticks_owner,
    shard::ShardReader,
    view::begin::{current, state_at},
};
use keyway_storage::{
    event::{EventKind, TriggerId},
    id::What,
};
use serde_json::value::RawValue;

use super::{
    ApiError, Reply,
    call::Call,
    document::Document,
    shape::{moment, trigger_uuid},
    trigger::{no_trigger, trigger_named},
};

/// `GET /api/triggers/ID/cursor`.
pub fn show_cursor(call: &Call) -> Reply {
    let (trigger, _) = call.cursor_named()?;
    let reader = call.cursor_reader(trigger)?;
    let set = match current(reader, trigger)? {
        Some(offset) => reader.log.event(offset)?,
        None => None,
    };
    let mut attributes = Document::default();
    match set.as_ref().map(|event| (event, &event.kind)) {
        Some((event, EventKind::CursorSet(set))) => {
            let run_id = match set.run {
                Some(run) => {
                    let block = reader.log.block(run.work_order)?;
                    let place = run.in_shard(reader.shard).work_order;
                    block.map(|block| call.api.ids.encode(What::Run(run.n), place, block.at()).to_string())
                }
                None => None,
            };
            let state = state_at(reader, event.place.offset)?.unwrap_or_default();
            attributes = attributes
                .with_text("state", &state)
                .with("bytes", set.bytes)
                .with("set_at", moment(Some(event.at)))
                .with("run_id", run_id);
        }
        _ => {
            attributes = attributes
                .with_text("state", b"{}")
                .with("bytes", 2)
                .with("set_at", moment(None))
                .with("run_id", None::<String>);
        }
    }
    Ok((StatusCode::OK, Document::data(Document::item("cursors", trigger_uuid(trigger), &attributes))))
}

/// `PUT /api/triggers/ID/cursor`, whose body is the state.
pub fn set_cursor(call: &Call) -> Reply {
    let (trigger, rules) = call.cursor_named()?;
    let body = std::str::from_utf8(&call.request.body)
        .ok()
        .filter(|text| serde_json::from_str::<&RawValue>(text).is_ok() && text.trim_start().starts_with('{'));
    let body = body.ok_or_else(|| ApiError::bad_request("The body must be a JSON object: the state."))?;
    let state = compact(body);
    if state.len() as u64 > rules.bytes_max {
        let (bytes, most) = (state.len(), rules.bytes_max);
        let message =
            format!("The state has {bytes} bytes; the trigger keeps at most {most} (cursor_bytes_max).");
        return Err(ApiError::invalid(message));
    }
    call.ask_cursor(SetCursor { trigger, state: Some(state.into()) })
}

/// `DELETE /api/triggers/ID/cursor`.
pub fn clear_cursor(call: &Call) -> Reply {
    let (trigger, _) = call.cursor_named()?;
    call.ask_cursor(SetCursor { trigger, state: None })
}

/// JSON without the space between its parts.
fn compact(json: &str) -> String {
    let (mut in_text, mut is_escaped) = (false, false);
    let is_kept = |character: &char| {
        let is_kept = in_text || !character.is_ascii_whitespace();
        match character {
            '"' if !is_escaped => in_text = !in_text,
            _ => {}
        }
        is_escaped = in_text && *character == '\\' && !is_escaped;
        is_kept
    };
    json.chars().filter(is_kept).collect()
}

impl Call<'_> {
    /// The trigger that the path names, which must have a cursor.
    fn cursor_named(&self) -> Result<(TriggerId, Cursor), ApiError> {
        if self.request.method != Method::PUT {
            self.body(&[])?;
        }
        let id = trigger_named(self.id)?;
        let project = self.current()?.ok_or_else(|| no_trigger(self.id))?;
        let (_, trigger) = project.trigger(id).ok_or_else(|| no_trigger(self.id))?;
        let missing =
            || ApiError::not_found("Only the runs of cron triggers start with what was left before.");
        Ok((id, trigger.cursor.ok_or_else(missing)?))
    }

    fn cursor_reader(&self, trigger: TriggerId) -> Result<&ShardReader, ApiError> {
        self.reader(ticks_owner(trigger, &self.api.routes))
    }

    fn ask_cursor(&self, set: SetCursor) -> Reply {
        let owner = self.cursor_reader(set.trigger)?.shard;
        match self.ask(owner, Command::SetCursor(set))? {
            Answer::Done => show_cursor(&self.again()),
            Answer::Refused(Refusal::NotFound) => Err(no_trigger(self.id)),
            other => Err(ApiError::unexpected(other)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::compact;

    #[test]
    fn space_inside_text_stays_and_all_other_space_goes() {
        let given = "{ \"a b\" :\t[1.50,\n 2] , \"c\": \"say \\\"d e\\\" \\\\\" , \"f\": \" \" }";
        assert_eq!(compact(given), "{\"a b\":[1.50,2],\"c\":\"say \\\"d e\\\" \\\\\",\"f\":\" \"}");
    }
}
