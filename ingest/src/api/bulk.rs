//! Reruns of all work orders that fit a filter, in the order in which they were received.
//!
//! Invariant: what is matched is fixed when the request is answered; the reruns are asked for after it, oldest first
//! in each shard. A restart in between leaves the rest unasked: rerunning is not replaying.

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use crossbeam_channel::Receiver;
use hyper::StatusCode;
use keyway_engine::{
    admin::AdminPort,
    command::{Answer, Command, Refusal, Rerun},
    run::is_final,
    view::{list::work_orders, order::WorkOrder, walk::Range},
};
use keyway_storage::limits::{BULK_REQUESTS_MAX, BULK_RERUNS_MAX, BULK_WINDOW, PAGE_ITEMS_MAX};
use serde_json::{Map, Value};

use super::{ApiError, Reply, call::Call, document::Document, page, request::whole};

/// `POST /api/reruns`.
pub fn rerun_all(call: &Call) -> Reply {
    let mut body = call.body(&["filters", "dry_run"])?;
    let dry_run = match body.remove("dry_run") {
        None | Some(Value::Null) => false,
        Some(Value::Bool(dry_run)) => dry_run,
        Some(_) => return Err(ApiError::invalid("`dry_run` must be true or false.")),
    };
    let filters = match body.remove("filters") {
        None | Some(Value::Null) => Map::new(),
        Some(Value::Object(filters)) => filters,
        Some(_) => return Err(ApiError::invalid("`filters` must be an object.")),
    };
    if let Some(unknown) = filters.keys().find(|name| !page::FILTERS.contains(&name.as_str())) {
        return Err(ApiError::invalid(format!("`filters`: there is no filter `{unknown}`.")));
    }
    let queues = matched(call, &filters)?;
    let matched: usize = queues.iter().map(VecDeque::len).sum();
    if !dry_run && matched > 0 {
        start(call, queues)?;
    }
    let answer = Document::default().with("matched", matched).with("dry_run", dry_run);
    Ok((StatusCode::ACCEPTED, Document::data(answer)))
}

/// The reruns for each shard, oldest first.
fn matched(call: &Call, filters: &Map<String, Value>) -> Result<Vec<VecDeque<Rerun>>, ApiError> {
    let mut queues: Vec<VecDeque<Rerun>> = call.readers.iter().map(|_| VecDeque::new()).collect();
    let Some(filter) = page::work_order_filter(filters)? else { return Ok(queues) };
    let Some((project, _)) = call.current()? else { return Ok(queues) };
    let after = page::moment(filters, "inserted_after")?;
    let before = page::moment(filters, "inserted_before")?;
    let mut behind = None;
    let mut matched = 0;
    loop {
        let found =
            work_orders(&call.readers, &filter, &Range { after, before, behind, most: PAGE_ITEMS_MAX })?;
        let can_run =
            |order: &&WorkOrder| is_final(order.state) && project.workflow(order.received.workflow).is_some();
        for order in found.items.iter().filter(can_run) {
            queues[usize::from(order.event.place.shard.0)].push_front(whole(order));
            matched += 1;
        }
        if matched > BULK_RERUNS_MAX {
            let message = format!("More than {BULK_RERUNS_MAX} work orders match: narrow the filters.");
            return Err(ApiError::invalid(message));
        }
        behind = found.next;
        if behind.is_none() {
            return Ok(queues);
        }
    }
}

fn start(call: &Call, queues: Vec<VecDeque<Rerun>>) -> Result<(), ApiError> {
    let under_way = Arc::clone(&call.api.under_way.reruns);
    if under_way.fetch_add(1, Ordering::AcqRel) >= BULK_REQUESTS_MAX {
        under_way.fetch_sub(1, Ordering::AcqRel);
        return Err(ApiError::unavailable("Enough bulk reruns are under way. Try again later."));
    }
    let ports = call.api.ports.clone();
    let ending = Ending(Arc::clone(&under_way));
    let spawned = thread::Builder::new().name("reruns".to_owned()).spawn(move || {
        let _ending = ending;
        ask_all(&ports, queues);
    });
    spawned.map(drop).map_err(|error| ApiError::unavailable(format!("No thread can be started: {error}.")))
}

/// Counts a bulk rerun as over when it is dropped.
struct Ending(Arc<AtomicUsize>);

impl Drop for Ending {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Asks each shard for its reruns, a window of them at a time: they share a turn and its sync.
fn ask_all(ports: &[AdminPort], mut queues: Vec<VecDeque<Rerun>>) {
    while queues.iter().any(|queue| !queue.is_empty()) {
        let mut answers = Vec::new();
        for (port, queue) in ports.iter().zip(&mut queues) {
            let window = queue.len().min(BULK_WINDOW);
            answers.extend(queue.drain(..window).map(|rerun| port.send(Command::Rerun(rerun))));
        }
        for answer in answers {
            note(answer.map(|answer: Receiver<Answer>| AdminPort::wait(&answer)));
        }
    }
}

fn note(answer: Result<Result<Answer, keyway_engine::admin::AskError>, keyway_engine::admin::AskError>) {
    match answer {
        // Someone else asked for a rerun in between.
        Ok(Ok(Answer::Run(_) | Answer::Refused(Refusal::Open))) => {}
        Ok(Ok(other)) => tracing::warn!(?other, "a rerun was refused"),
        Ok(Err(error)) | Err(error) => tracing::warn!(%error, "a rerun was not asked for"),
    }
}
