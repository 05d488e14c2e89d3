//! Pages of lists: their size, their beginning, their filters, their shape.

use std::fmt::Display;

use keyway_engine::{
    project::workflow_id,
    run::{run_state_named, work_order_state_named},
    shard::ShardReader,
    view::{list::Filter, walk::Range},
};
use keyway_storage::{
    event::{RunState, TriggerId},
    limits::{PAGE_BYTES_MAX, PAGE_ITEMS_DEFAULT, PAGE_ITEMS_MAX, PAGE_LOOKS_MAX},
    place::{Place, Timestamp},
};
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::{
    ApiError,
    call::{Call, uuid_of},
    document::Document,
};
use crate::time;

/// Which part of a list is asked for.
pub struct Asked {
    /// Items on the page.
    pub size: usize,
    /// Number of the page, from 1, by Lightning's `page`.
    pub number: Option<usize>,
}

impl Asked {
    /// What the query asks for.
    pub fn read(call: &Call) -> Result<Self, ApiError> {
        let size = number(call, "page_size", 1, PAGE_ITEMS_MAX as u64)?;
        let size = size.map_or(PAGE_ITEMS_DEFAULT, |size| size as usize);
        let number = number(call, "page", 1, u64::MAX)?.map(|number| number as usize);
        let asked = Self { size, number };
        if asked.skipped().is_none_or(|skipped| skipped + size > PAGE_LOOKS_MAX) {
            let message = format!(
                "`page` reaches {PAGE_LOOKS_MAX} items far; go on with `after`, as `links.next` does, for more."
            );
            return Err(ApiError::invalid(message));
        }
        Ok(asked)
    }

    fn skipped(&self) -> Option<usize> {
        (self.number.unwrap_or(1) - 1).checked_mul(self.size)
    }

    /// How many items come before the page.
    pub fn skip(&self) -> usize {
        self.skipped().expect("it was checked when it was read")
    }

    /// The page of a whole list that begins at `begin`, and whether nothing comes behind it.
    pub fn cut<'a, T>(&self, all: &'a [T], begin: usize) -> (&'a [T], bool) {
        let begin = (begin + self.skip()).min(all.len());
        let end = (begin + self.size).min(all.len());
        (&all[begin..end], end == all.len())
    }

    /// The range of a walk that gives this page and all before it.
    pub fn range(&self, call: &Call, behind: Option<Place>) -> Result<Range, ApiError> {
        Ok(Range {
            after: moment(call, "inserted_after")?,
            before: moment(call, "inserted_before")?,
            behind,
            most: self.skip() + self.size,
        })
    }

    /// The list with these items and the id behind which the next page begins.
    pub fn list(&self, call: &Call, data: &[Document], next: Option<String>) -> Document {
        let mut meta = Document::default().with("page_size", self.size);
        if let Some(number) = self.number {
            meta = meta.with("page_number", number);
        }
        let behind = events_behind(call);
        if behind > 0 {
            meta = meta.with("events_behind", behind);
        }
        list(call, data, meta, next.map(|id| ("after", id)))
    }
}

/// How many durable events the views do not reflect: while they are derived anew, lists are not complete.
fn events_behind(call: &Call) -> u64 {
    let behind = |reader: &ShardReader| reader.stats.settled().0.saturating_sub(reader.stats.views().0);
    call.readers.iter().map(behind).sum()
}

/// Shapes items until there are too many bytes for one page; at least one.
pub fn fill<T>(
    items: impl IntoIterator<Item = T>,
    mut shape: impl FnMut(&T) -> Result<Document, ApiError>,
) -> Result<(Vec<Document>, Option<T>), ApiError> {
    let mut bytes = 0;
    let mut filled: Vec<Document> = Vec::new();
    let mut last = None;
    for item in items {
        if bytes > PAGE_BYTES_MAX {
            return Ok((filled, last));
        }
        let document = shape(&item)?;
        bytes += document.bytes();
        filled.push(document);
        last = Some(item);
    }
    Ok((filled, None))
}

/// `{"data", "meta", "links"}`, the next page beginning with this parameter in the place of the one of this page.
pub fn list(
    call: &Call,
    data: &[impl Serialize],
    meta: Document,
    next: Option<(&str, impl Display)>,
) -> Document {
    let next = next.map(|(name, value)| {
        let mut query = form_urlencoded::Serializer::new(String::new());
        for (key, value) in form_urlencoded::parse(call.request.query.as_bytes()) {
            if key != name && key != "page" {
                query.append_pair(&key, &value);
            }
        }
        query.append_pair(name, &value.to_string());
        format!("{}?{}", call.request.path, query.finish())
    });
    Document::data(data).with("meta", meta).with("links", json!({ "next": next }))
}

/// A number in the query.
pub fn number(call: &Call, name: &str, least: u64, most: u64) -> Result<Option<u64>, ApiError> {
    let Some(text) = call.param(name) else { return Ok(None) };
    let number = text.parse().ok().filter(|number| (least..=most).contains(number));
    let wrong = match most {
        u64::MAX => format!("`{name}` must be a whole number, at least {least}."),
        _ => format!("`{name}` must be a whole number from {least} to {most}."),
    };
    number.map(Some).ok_or_else(|| ApiError::invalid(wrong))
}

/// What `include=` names; nothing else than these may be asked for.
pub fn includes(call: &Call, known: &[&'static str]) -> Result<Vec<&'static str>, ApiError> {
    let mut found = Vec::new();
    for word in call.param("include").unwrap_or_default().split(',').map(str::trim) {
        match known.iter().find(|known| **known == word) {
            Some(known) => found.push(*known),
            None if word.is_empty() => {}
            None => {
                let message = format!("`include` takes {}, not `{word}`.", known.join(" and "));
                return Err(ApiError::invalid(message));
            }
        }
    }
    Ok(found)
}

/// Where the values of a filter stand: in a query or in a body.
pub trait Values {
    /// The value with this name.
    fn value(&self, name: &str) -> Result<Option<String>, ApiError>;
}

impl Values for Call<'_> {
    fn value(&self, name: &str) -> Result<Option<String>, ApiError> {
        Ok(self.param(name))
    }
}

impl Values for Map<String, Value> {
    fn value(&self, name: &str) -> Result<Option<String>, ApiError> {
        match self.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.clone())),
            Some(_) => Err(ApiError::invalid(format!("`{name}` must be text."))),
        }
    }
}

/// The names of a work order's filters.
pub const FILTERS: &[&str] = &["state", "workflow", "trigger_id", "inserted_after", "inserted_before"];

/// The filter of a list of work orders; `None` when none can fit.
pub fn work_order_filter(values: &impl Values) -> Result<Option<Filter>, ApiError> {
    let state = values.value("state")?;
    // Nothing that comes in is rejected: what cannot become a work order is a dead letter or a refusal.
    if state.as_deref() == Some("rejected") {
        return Ok(None);
    }
    let state = state.map(|name| named("work order", &name, work_order_state_named(&name))).transpose()?;
    Ok(Some(Filter { state, ..filter(values)? }))
}

/// The filter of a list of runs.
pub fn run_filter(values: &impl Values) -> Result<Filter, ApiError> {
    let state = values.value("state")?;
    let state = state.map(|name| named("run", &name, run_state_named(&name))).transpose()?;
    Ok(Filter { state, ..filter(values)? })
}

fn named(what: &str, name: &str, state: Option<RunState>) -> Result<RunState, ApiError> {
    state.ok_or_else(|| ApiError::invalid(format!("`state`: there is no {what} state `{name}`.")))
}

fn filter(values: &impl Values) -> Result<Filter, ApiError> {
    let workflow = values.value("workflow")?.map(|key| workflow_id(&key));
    Ok(Filter { state: None, workflow, trigger: trigger(values)? })
}

/// The trigger of a filter.
pub fn trigger(values: &impl Values) -> Result<Option<TriggerId>, ApiError> {
    let Some(id) = values.value("trigger_id")? else { return Ok(None) };
    let uuid = uuid_of(&id).ok_or_else(|| ApiError::invalid("`trigger_id` must be a UUID."))?;
    Ok(Some(TriggerId(*uuid.as_bytes())))
}

/// A time of a filter.
pub fn moment(values: &impl Values, name: &str) -> Result<Option<Timestamp>, ApiError> {
    let Some(text) = values.value(name)? else { return Ok(None) };
    let wrong = || ApiError::invalid(format!("`{name}` must be a time such as 2026-05-21T10:00:00Z."));
    time::parse(&text).map(Some).ok_or_else(wrong)
}
