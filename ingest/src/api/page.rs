//! Pages of lists: their size, their beginning, their filters, their shape.

use keyway_engine::{
    project::workflow_id,
    run::{run_state_named, work_order_state_named},
    view::list::Filter,
};
use keyway_storage::{
    event::{RunState, TriggerId},
    limits::{PAGE_ITEMS_DEFAULT, PAGE_ITEMS_MAX},
    place::Timestamp,
};
use serde_json::{Value, json};
use uuid::Uuid;

use super::{ApiError, Call};
use crate::time;

/// How many items a page has.
pub fn size(call: &Call) -> Result<usize, ApiError> {
    number(call, "page_size", 1, PAGE_ITEMS_MAX as u64)
        .map(|size| size.map_or(PAGE_ITEMS_DEFAULT, |size| size as usize))
}

/// Items before the page, by Lightning's `page`.
pub fn skipped(call: &Call, size: usize) -> Result<usize, ApiError> {
    let page = number(call, "page", 1, 100_000)?.unwrap_or(1) as usize;
    Ok((page - 1) * size)
}

/// A number in the query.
pub fn number(call: &Call, name: &str, least: u64, most: u64) -> Result<Option<u64>, ApiError> {
    let Some(text) = call.param(name) else { return Ok(None) };
    let number = text.parse().ok().filter(|number| (least..=most).contains(number));
    number
        .map(Some)
        .ok_or_else(|| ApiError::invalid(format!("`{name}` must be a number from {least} to {most}.")))
}

/// The filter in the query; `state` is one of work orders.
pub fn filter(call: &Call) -> Result<Filter, ApiError> {
    let state = call.param("state").map(|name| {
        work_order_state_named(&name)
            .ok_or_else(|| ApiError::invalid(format!("There is no work order state `{name}`.")))
    });
    Ok(Filter { state: state.transpose()?, ..filter_without_state(call)? })
}

/// The state in the query, as one of runs.
pub fn run_state(call: &Call) -> Result<Option<RunState>, ApiError> {
    let named = |name: String| {
        run_state_named(&name).ok_or_else(|| ApiError::invalid(format!("There is no run state `{name}`.")))
    };
    call.param("state").map(named).transpose()
}

/// The filter in the query, but for its `state`.
pub fn filter_without_state(call: &Call) -> Result<Filter, ApiError> {
    let trigger = call.param("trigger_id").map(|id| {
        let uuid = Uuid::try_parse(&id).map_err(|_| ApiError::invalid("`trigger_id` must be a UUID."))?;
        Ok::<_, ApiError>(TriggerId(*uuid.as_bytes()))
    });
    Ok(Filter {
        state: None,
        workflow: call.param("workflow").map(|key| workflow_id(&key)),
        trigger: trigger.transpose()?,
        after: moment(call, "inserted_after")?,
        before: moment(call, "inserted_before")?,
    })
}

fn moment(call: &Call, name: &str) -> Result<Option<Timestamp>, ApiError> {
    let Some(text) = call.param(name) else { return Ok(None) };
    let time = time::parse(&text);
    let wrong = || ApiError::invalid(format!("`{name}` must be a time such as 2026-05-21T10:00:00Z."));
    time.map(Some).ok_or_else(wrong)
}

/// The shape of every list.
pub fn list(call: &Call, data: Vec<Value>, meta: Value, next: Option<String>) -> Value {
    let next = next.map(|after| {
        let mut query = form_urlencoded::Serializer::new(String::new());
        for (key, value) in form_urlencoded::parse(call.request.query.as_bytes()) {
            if key != "after" && key != "page" {
                query.append_pair(&key, &value);
            }
        }
        query.append_pair("after", &after);
        format!("{}?{}", call.request.path, query.finish())
    });
    json!({ "data": data, "meta": meta, "links": { "next": next } })
}
