//! Work orders, runs and log lines.

use hyper::StatusCode;
use keyway_engine::{
    run::work_order_state_name,
    view::{
        list::{made_run, runs, work_orders},
        order::{WorkOrder, work_order},
        run::initial_state_of,
    },
};
use keyway_storage::{
    event::{EventKind, LogLine},
    id::What,
    place::{Offset, Place, RunKey},
};
use serde_json::{Value, json};
use uuid::Uuid;

use super::{
    ApiError, Reply,
    call::Call,
    document::Document,
    page::{self, Asked},
    run::{RunView, run_id, run_id_at},
    shape,
};
use crate::time::rfc3339;

/// `GET /api/work_orders`.
pub fn list_work_orders(call: &Call) -> Reply {
    let (asked, includes) = (Asked::read(call)?, page::includes(call, &["input"])?);
    let behind = match call.param("after") {
        Some(id) => Some(call.locate(&id, |what| what == What::WorkOrder)?.1),
        None => None,
    };
    let range = asked.range(call, behind)?;
    let Some(filter) = page::work_order_filter(call)? else {
        return Ok((StatusCode::OK, asked.list(call, &[], None)));
    };
    let found = work_orders(&call.readers, &filter, &range)?;
    let orders = found.items.into_iter().skip(asked.skip());
    let (data, cut) = page::fill(orders, |order| call.work_order_item(order, &includes))?;
    let next = match cut {
        Some(order) => Some(call.work_order_id(&order)),
        None => call.id_of_order_at(found.next)?,
    };
    Ok((StatusCode::OK, asked.list(call, &data, next)))
}

/// `GET /api/work_orders/ID`.
pub fn show_work_order(call: &Call) -> Reply {
    let includes = page::includes(call, &["input"])?;
    let order = call.work_order_named(call.id)?;
    Ok((StatusCode::OK, Document::data(call.work_order_item(&order, &includes)?)))
}

/// `GET /api/runs`.
pub fn list_runs(call: &Call) -> Reply {
    let (asked, includes) = (Asked::read(call)?, page::includes(call, &["input", "final_state", "states"])?);
    let behind = match call.param("after") {
        Some(id) => Some(call.birth_of(&id)?),
        None => None,
    };
    let range = asked.range(call, behind)?;
    let found = runs(&call.readers, &page::run_filter(call)?, &range)?;
    let items = found.items.into_iter().skip(asked.skip());
    let (data, cut) = page::fill(items, |(order, run)| call.run_item(order, *run, &includes))?;
    let next = match cut {
        Some((order, run)) => Some(run_id(call, &order, run)),
        None => call.id_of_run_made_at(found.next)?,
    };
    Ok((StatusCode::OK, asked.list(call, &data, next)))
}

/// `GET /api/runs/ID`.
pub fn show_run(call: &Call) -> Reply {
    let includes = page::includes(call, &["input", "final_state", "states"])?;
    let (order, run) = call.run_named(call.id)?;
    Ok((StatusCode::OK, Document::data(call.run_item(&order, run, &includes)?)))
}

/// `GET /api/log_lines?run_id=ID`.
pub fn list_log_lines(call: &Call) -> Reply {
    let asked = Asked::read(call)?;
    let id = call.param("run_id").ok_or_else(|| ApiError::invalid("`run_id` is missing."))?;
    let (order, key) = call.run_named(&id)?;
    let run = order.run(key.n).expect("a run that was named is there");
    let view = RunView::new(call, &order, run)?;
    let mut lines = Vec::new();
    for event in view.report() {
        let EventKind::LogWritten(written) = &event.kind else { continue };
        let first = call.api.ids.encode(What::LogLine, event.place, event.at);
        let numbered = written.lines.iter().enumerate();
        lines.extend(numbered.map(|(index, line)| (line_id(first, index), written.attempt, line)));
    }
    let begin = match call.param("after") {
        None => 0,
        Some(after) => {
            let missing = || ApiError::not_found(format!("The run has no log line with the id {after}."));
            lines.iter().position(|(id, ..)| *id == after).ok_or_else(missing)? + 1
        }
    };
    let (page, is_last) = asked.cut(&lines, begin);
    let run_id = call.run_id(&order, key);
    let shape =
        |(id, attempt, line): &(String, u8, &LogLine)| log_line(&view, key, &run_id, id, *attempt, line);
    let next = page.last().filter(|_| !is_last).map(|(id, ..)| id.clone());
    Ok((StatusCode::OK, asked.list(call, &page.iter().map(shape).collect::<Vec<_>>(), next)))
}

/// The id of a log line. Lines are written in batches: the first has the id of its event, the others follow from it.
fn line_id(first: Uuid, index: usize) -> String {
    Uuid::from_u128(first.as_u128() ^ index as u128).to_string()
}

fn log_line(view: &RunView, run: RunKey, run_id: &str, id: &str, attempt: u8, line: &LogLine) -> Document {
    let started = view.report().iter().find_map(|event| match &event.kind {
        EventKind::StepStarted(it)
            if it.run == run && it.attempt == attempt && Some(it.step) == line.step =>
        {
            Some((event.place.offset, it.job))
        }
        _ => None,
    });
    let attributes = Document::default()
        .with("run_id", run_id)
        .with("step_id", started.and_then(|(offset, _)| view.step_id(offset)))
        .with("job", started.and_then(|(_, job)| view.job_key(job)))
        .with("level", shape::level_name(line.level))
        .with("source", shape::source_name(line.source))
        .with("message", &*line.message)
        .with("timestamp", rfc3339(line.at));
    Document::item("log_lines", id, &attributes)
}

impl Call<'_> {
    /// The id of a work order.
    pub fn work_order_id(&self, order: &WorkOrder) -> String {
        self.api.ids.work_order(order.event.place, order.event.at).to_string()
    }

    /// The id of a run.
    pub fn run_id(&self, order: &WorkOrder, run: RunKey) -> String {
        run_id(self, order, run)
    }

    fn id_of_order_at(&self, place: Option<Place>) -> Result<Option<String>, ApiError> {
        let Some(place) = place else { return Ok(None) };
        let block = self.reader(place.shard)?.log.block(place.offset)?;
        Ok(block.map(|block| self.api.ids.work_order(place, block.at()).to_string()))
    }

    /// The id of the run that the event at this place made.
    fn id_of_run_made_at(&self, place: Option<Place>) -> Result<Option<String>, ApiError> {
        let Some(place) = place else { return Ok(None) };
        let reader = self.reader(place.shard)?;
        let Some(run) = reader.log.event(place.offset)?.as_ref().and_then(made_run) else { return Ok(None) };
        let block = reader.log.block(run.work_order)?;
        let work_order = Place { offset: run.work_order, ..place };
        Ok(block.map(|block| run_id_at(self, work_order, block.at(), run.n)))
    }

    /// The event that made a run.
    fn birth_of(&self, id: &str) -> Result<Place, ApiError> {
        let (order, run) = self.run_named(id)?;
        let asked_for: Option<Offset> = order.run(run.n).and_then(|run| run.requested);
        Ok(Place { offset: asked_for.unwrap_or(run.work_order), ..order.event.place })
    }

    /// The work order with this id.
    pub fn work_order_named(&self, id: &str) -> Result<WorkOrder, ApiError> {
        let (_, place) = self.locate(id, |what| what == What::WorkOrder)?;
        let order = work_order(self.reader(place.shard)?, place.offset)?;
        order.ok_or_else(|| ApiError::not_found(format!("There is no work order with the id {id}.")))
    }

    /// The run with this id, and its work order.
    pub fn run_named(&self, id: &str) -> Result<(WorkOrder, RunKey), ApiError> {
        let missing = || ApiError::not_found(format!("There is no run with the id {id}."));
        let (what, place) = self.locate(id, |what| matches!(what, What::Run(_)))?;
        let What::Run(n) = what else { return Err(missing()) };
        let order = work_order(self.reader(place.shard)?, place.offset)?.ok_or_else(missing)?;
        let run = order.run(n).ok_or_else(missing)?.key;
        Ok((order, run))
    }

    /// A work order, with these parts of it.
    pub fn work_order_item(&self, order: &WorkOrder, includes: &[&str]) -> Result<Document, ApiError> {
        let project = self.project_at(order.event.place.shard, order.received.project);
        let workflow = project.as_ref().and_then(|project| project.workflow(order.received.workflow));
        let trigger = project.as_ref().and_then(|project| project.trigger(order.received.trigger));
        let runs: Vec<_> = order.runs.iter().map(|run| self.run_id(order, run.key)).collect();
        let mut attributes = Document::default()
            .with("state", work_order_state_name(order.state))
            .with("workflow", workflow.map(|workflow| workflow.key.as_str()))
            .with("trigger_id", shape::trigger_uuid(order.received.trigger))
            .with("trigger_type", trigger.map(|(_, trigger)| trigger.kind))
            .with("inserted_at", rfc3339(order.event.at))
            .with("last_activity", rfc3339(order.last_activity))
            .with("runs", runs)
            .with("replays", self.replayed_by(order));
        if includes.contains(&"input") {
            let first = RunKey { work_order: order.event.place.offset, n: 1 };
            let state = initial_state_of(self.reader(order.event.place.shard)?, first)?;
            attributes = attributes.with_text("input", &state.unwrap_or_default());
        }
        Ok(Document::item("work_orders", self.work_order_id(order), &attributes))
    }

    /// The dead letter or the work order that a work order replays.
    fn replayed_by(&self, order: &WorkOrder) -> Option<Value> {
        let of = order.received.replays?;
        // What was cut off by retention cannot be named any more.
        let event = self.reader(of.shard).ok()?.log.event(of.offset).ok()??;
        let (kind, what) = match &event.kind {
            EventKind::DeadLettered(_) => ("dead_letters", What::DeadLetter),
            _ => ("work_orders", What::WorkOrder),
        };
        Some(json!({ "type": kind, "id": self.api.ids.encode(what, of, event.at).to_string() }))
    }

    /// A run of a work order, with these parts of it.
    pub fn run_item(&self, order: &WorkOrder, run: RunKey, includes: &[&str]) -> Result<Document, ApiError> {
        let missing = || ApiError::not_found("The work order has no such run.");
        RunView::new(self, order, order.run(run.n).ok_or_else(missing)?)?.item(includes)
    }
}
