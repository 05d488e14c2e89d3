//! Work orders, runs and log lines.

use hyper::StatusCode;
use keyway_engine::view::{
    list::work_orders,
    order::{Run, WorkOrder, work_order},
    run::{initial_state, report, state_of, steps},
};
use keyway_storage::{
    event::{Event, EventKind, StepInput},
    id::What,
    place::{Offset, Place},
};
use serde_json::{Value, json};

use super::{Api, ApiError, Call, Reply, page, shape};
use crate::time::rfc3339;

/// Lists work orders, newest first.
pub fn list_work_orders(api: &Api, call: &Call) -> Reply {
    let (size, filter) = (page::size(call)?, page::filter(call)?);
    let skipped = page::skipped(call, size)?;
    let cursor = match call.param("after") {
        Some(id) => Some(api.locate(&id, |what| what == What::WorkOrder)?.1),
        None => None,
    };
    let found = work_orders(&api.readers, &filter, cursor, size + skipped)?;
    let orders = found.orders.into_iter().skip(skipped);
    let data = orders.map(|order| api.work_order_item(&order, call)).collect::<Result<_, _>>()?;
    let next = found.next.map(|place| api.work_order_at(place)).transpose()?.flatten();
    let next = next.map(|order| api.work_order_id(&order).to_string());
    Ok((StatusCode::OK, page::list(call, data, json!({ "page_size": size }), next)))
}

/// Shows one work order.
pub fn show_work_order(api: &Api, call: &Call) -> Reply {
    let order = api.work_order_named(call.id())?;
    Ok((StatusCode::OK, json!({ "data": api.work_order_item(&order, call)? })))
}

/// Lists runs, newest first.
pub fn list_runs(api: &Api, call: &Call) -> Reply {
    let (size, state) = (page::size(call)?, page::run_state(call)?);
    let filter = page::filter_without_state(call)?;
    let skipped = page::skipped(call, size)?;
    let (mut cursor, mut older_than) = (None, u8::MAX);
    if let Some(id) = call.param("after") {
        let (what, place, _) = api.locate(&id, |what| matches!(what, What::Run(_)))?;
        let What::Run(n) = what else { return Err(ApiError::not_found("No such run.")) };
        (cursor, older_than) = (Some(place), n);
    }
    let mut runs: Vec<(std::rc::Rc<WorkOrder>, u8)> = Vec::new();
    // The older runs of the work order at which the last page ended.
    if let Some(order) = cursor.map(|place| api.work_order_at(place)).transpose()?.flatten() {
        let order = std::rc::Rc::new(order);
        runs.extend((1..older_than).rev().map(|n| (std::rc::Rc::clone(&order), n)));
    }
    let found = work_orders(&api.readers, &filter, cursor, size + skipped + 1)?;
    for order in found.orders {
        let order = std::rc::Rc::new(order);
        runs.extend((1..=order.runs.len() as u8).rev().map(|n| (std::rc::Rc::clone(&order), n)));
    }
    let seen = runs.last().cloned();
    runs.retain(|(order, n)| state.is_none_or(|state| order.runs[usize::from(*n) - 1].state == state));
    let more = runs.len() > size + skipped || found.next.is_some();
    let last = if runs.len() > size + skipped { runs.get(size + skipped - 1).cloned() } else { seen };
    let mut data = Vec::new();
    for (order, n) in runs.iter().skip(skipped).take(size) {
        data.push(api.run_item(order, &order.runs[usize::from(*n) - 1], call, false)?);
    }
    let next = last.filter(|_| more).map(|(order, n)| api.run_id(&order, n).to_string());
    Ok((StatusCode::OK, page::list(call, data, json!({ "page_size": size }), next)))
}

/// Shows one run with its steps.
pub fn show_run(api: &Api, call: &Call) -> Reply {
    let (order, n) = api.run_named(call.id())?;
    let run = &order.runs[usize::from(n) - 1];
    Ok((StatusCode::OK, json!({ "data": api.run_item(&order, run, call, true)? })))
}

/// Lists what a run wrote.
pub fn list_log_lines(api: &Api, call: &Call) -> Reply {
    let size = page::size(call)?;
    let id = call.param("run_id").ok_or_else(|| ApiError::invalid("`run_id` is needed."))?;
    let (order, n) = api.run_named(&id)?;
    let run = &order.runs[usize::from(n) - 1];
    let shard = order.event.place.shard;
    let reader = api.reader(shard).ok_or_else(|| ApiError::not_found("No such shard."))?;
    let events = report(reader, run.key)?;
    let steps = steps(&events);
    let mut lines = Vec::new();
    for event in &events {
        let EventKind::LogWritten(written) = &event.kind else { continue };
        let base = api.ids.encode(What::LogLine, event.place, event.at);
        for (index, line) in written.lines.iter().enumerate() {
            let step = line.step.and_then(|step| steps.iter().find(|it| it.started.step == step));
            let place = step.map(|step| Place { shard, offset: step.offset });
            let at = place.and_then(|place| time_of(&events, place.offset));
            let attributes = json!({
                "run_id": id,
                "step_id": place.zip(at).map(|(place, at)| api.ids.encode(What::Step, place, at).to_string()),
                "job": step.and_then(|step| api.job_key(&order, run, step.started.job)),
                "level": shape::level_name(line.level),
                "source": shape::source_name(line.source),
                "message": &*line.message,
                "timestamp": rfc3339(line.at),
            });
            lines.push(shape::item("log_lines", format!("{base}-{index}"), attributes));
        }
    }
    let after = call.param("after");
    let from = after
        .and_then(|after| lines.iter().position(|line| line["id"] == after.as_str()))
        .map_or(0, |at| at + 1);
    let total = lines.len();
    let data: Vec<Value> = lines.into_iter().skip(from).take(size).collect();
    let next = (from + data.len() < total).then(|| data.last().map(|line| line["id"].clone())).flatten();
    let next = next.and_then(|id| id.as_str().map(str::to_owned));
    Ok((StatusCode::OK, page::list(call, data, json!({ "page_size": size, "total": total }), next)))
}

fn time_of(events: &[Event], offset: Offset) -> Option<keyway_storage::place::Timestamp> {
    events.iter().find(|event| event.place.offset == offset).map(|event| event.at)
}

impl Api {
    fn work_order_at(&self, place: Place) -> Result<Option<WorkOrder>, ApiError> {
        match self.reader(place.shard) {
            Some(reader) => Ok(work_order(reader, place.offset)?),
            None => Ok(None),
        }
    }

    pub(super) fn work_order_named(&self, id: &str) -> Result<WorkOrder, ApiError> {
        let (_, place, _) = self.locate(id, |what| what == What::WorkOrder)?;
        let order = self.work_order_at(place)?;
        order.ok_or_else(|| ApiError::not_found(format!("There is no work order with the id {id}.")))
    }

    pub(super) fn run_named(&self, id: &str) -> Result<(WorkOrder, u8), ApiError> {
        let missing = || ApiError::not_found(format!("There is no run with the id {id}."));
        let (what, place, _) = self.locate(id, |what| matches!(what, What::Run(_)))?;
        let What::Run(n) = what else { return Err(missing()) };
        let order = self.work_order_at(place)?.filter(|order| usize::from(n) <= order.runs.len());
        Ok((order.ok_or_else(missing)?, n))
    }

    fn work_order_item(&self, order: &WorkOrder, call: &Call) -> Result<Value, ApiError> {
        let mut attributes = self.shape_work_order(order);
        if call.includes("input") {
            attributes["input"] = shape::json_text(&initial_state(&order.received));
        }
        Ok(shape::item("work_orders", self.work_order_id(order), attributes))
    }

    pub(super) fn run_item(
        &self,
        order: &WorkOrder,
        run: &Run,
        call: &Call,
        whole: bool,
    ) -> Result<Value, ApiError> {
        let shard = order.event.place.shard;
        let Some(reader) = self.reader(shard) else { return Err(ApiError::not_found("No such shard.")) };
        let events = report(reader, run.key)?;
        let found = steps(&events);
        let mut shapes = Vec::new();
        for step in &found {
            let at = time_of(&events, step.offset).unwrap_or(order.event.at);
            let mut shaped = self.shape_step(order, run, step, at);
            if whole && call.includes("states") {
                let input = state_of(reader, run.key, StepInput::InputOf(step.started.step))?;
                shaped["input"] = shape::json_text(&input.unwrap_or_default());
                let output = step.finished.as_ref().map(|finished| finished.output.clone());
                shaped["output"] = shape::json_text(&output.unwrap_or_default());
            }
            shapes.push(shaped);
        }
        let mut attributes = self.shape_run(order, run, shapes);
        if call.includes("final_state") {
            attributes["final_state"] = shape::json_text(&final_state(&events));
        }
        Ok(shape::item("runs", self.run_id(order, run.key.n), attributes))
    }
}

fn final_state(events: &[Event]) -> bytes::Bytes {
    use keyway_storage::event::FinalState;
    let end = events.iter().rev().find_map(|event| match &event.kind {
        EventKind::RunFinished(end) => Some(end),
        _ => None,
    });
    match end.map(|end| &end.final_state) {
        Some(FinalState::Own(state)) => state.clone(),
        Some(FinalState::Step(step)) => steps(events)
            .into_iter()
            .find(|it| it.started.step == *step)
            .and_then(|step| step.finished)
            .map(|finished| finished.output)
            .unwrap_or_default(),
        Some(FinalState::None) | None => bytes::Bytes::new(),
    }
}
