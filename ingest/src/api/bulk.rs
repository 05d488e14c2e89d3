//! Reruns of all work orders that fit a filter, and cancels of all runs that do, in the order in which they were
//! received.
//!
//! Invariant: what is matched is fixed when the request is answered; it is asked for after it, oldest first in each
//! shard. A restart in between leaves the rest unasked: rerunning is not replaying.

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
    admin::{AdminPort, AskError},
    command::{Answer, Command, Refusal},
    run::is_final,
    view::{
        list::{Filter, runs, work_orders},
        order::WorkOrder,
        run::initial_state_of,
        walk::Range,
    },
};
use keyway_storage::{
    event::{RunState, wiped_at},
    limits::{BULK_REQUESTS_MAX, BULK_RERUNS_MAX, BULK_WINDOW, PAGE_ITEMS_MAX},
    place::{Place, RunKey},
};
use serde_json::{Map, Value};

use super::{
    ApiError, Reply,
    call::Call,
    document::Document,
    page,
    request::{Version, whole},
};

/// `POST /api/reruns`.
pub fn rerun_all(call: &Call) -> Reply {
    let mut body = call.body(&["filters", "dry_run", "version"])?;
    let version = Version::read(&mut body)?;
    let (filters, dry_run) = asked(body)?;
    answer(call, ended(call, &filters, version)?, dry_run)
}

/// `POST /api/cancels`.
pub fn cancel_all(call: &Call) -> Reply {
    let (filters, dry_run) = asked(call.body(&["filters", "dry_run"])?)?;
    answer(call, open(call, &filters)?, dry_run)
}

fn asked(mut body: Map<String, Value>) -> Result<(Map<String, Value>, bool), ApiError> {
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
    Ok((filters, dry_run))
}

fn answer(call: &Call, queues: Queues, dry_run: bool) -> Reply {
    let mut answer = Document::default().with("matched", queues.count).with("dry_run", dry_run);
    if queues.wiped > 0 {
        answer = answer.with("wiped", queues.wiped);
    }
    if !dry_run && queues.count > 0 {
        start(call, queues.by_shard)?;
    }
    Ok((StatusCode::ACCEPTED, Document::data(answer)))
}

/// What is to be asked of each shard, oldest first.
struct Queues {
    by_shard: Vec<VecDeque<Command>>,
    count: usize,
    /// Work orders that fit and cannot run again, because their input was wiped.
    wiped: usize,
}

impl Queues {
    fn new(call: &Call) -> Self {
        Self { by_shard: call.readers.iter().map(|_| VecDeque::new()).collect(), count: 0, wiped: 0 }
    }

    /// Adds a command about a work order that is older than those before it.
    fn add(&mut self, of: Place, command: Command) -> Result<(), ApiError> {
        self.by_shard[usize::from(of.shard.0)].push_front(command);
        self.count += 1;
        if self.count > BULK_RERUNS_MAX {
            let message = format!("More than {BULK_RERUNS_MAX} match: narrow the filters.");
            return Err(ApiError::invalid(message));
        }
        Ok(())
    }
}

/// The reruns of work orders that have ended.
fn ended(call: &Call, filters: &Map<String, Value>, version: Version) -> Result<Queues, ApiError> {
    let mut queues = Queues::new(call);
    let Some(filter) = page::work_order_filter(filters)? else { return Ok(queues) };
    let Some((project, _)) = call.current()? else { return Ok(queues) };
    let mut range = range(filters)?;
    loop {
        let found = work_orders(&call.readers, &filter, &range)?;
        let can_run =
            |order: &&WorkOrder| is_final(order.state) && project.workflow(order.received.workflow).is_some();
        for order in found.items.iter().filter(can_run) {
            if is_wiped(call, order)? {
                queues.wiped += 1;
                continue;
            }
            queues.add(order.event.place, Command::Rerun(whole(order, version)))?;
        }
        range.behind = found.next;
        if range.behind.is_none() {
            return Ok(queues);
        }
    }
}

/// Whether the input of a work order was wiped.
fn is_wiped(call: &Call, order: &WorkOrder) -> Result<bool, ApiError> {
    if !order.received.body.is_empty() {
        return Ok(wiped_at(&order.received.body).is_some());
    }
    // It began with what an earlier run had left.
    let first = RunKey { work_order: order.event.place.offset, n: 1 };
    let state = initial_state_of(call.reader(order.event.place.shard)?, first)?;
    Ok(state.as_deref().and_then(wiped_at).is_some())
}

/// The cancels of runs that wait, or that workers have.
fn open(call: &Call, filters: &Map<String, Value>) -> Result<Queues, ApiError> {
    let filter = page::run_filter(filters)?;
    let states = match filter.state {
        None => vec![RunState::Available, RunState::Claimed, RunState::Started],
        Some(state) if !is_final(state) => vec![state],
        Some(_) => return Err(ApiError::invalid("`state`: a run that has ended cannot be cancelled.")),
    };
    let mut queues = Queues::new(call);
    for state in states {
        let filter = Filter { state: Some(state), ..filter.clone() };
        let mut range = range(filters)?;
        loop {
            let found = runs(&call.readers, &filter, &range)?;
            for (order, run) in &found.items {
                queues.add(order.event.place, Command::Cancel(*run))?;
            }
            range.behind = found.next;
            if range.behind.is_none() {
                break;
            }
        }
    }
    Ok(queues)
}

fn range(filters: &Map<String, Value>) -> Result<Range, ApiError> {
    let after = page::moment(filters, "inserted_after")?;
    let before = page::moment(filters, "inserted_before")?;
    Ok(Range { after, before, behind: None, most: PAGE_ITEMS_MAX })
}

fn start(call: &Call, queues: Vec<VecDeque<Command>>) -> Result<(), ApiError> {
    let under_way = Arc::clone(&call.api.under_way.bulk);
    if under_way.fetch_add(1, Ordering::AcqRel) >= BULK_REQUESTS_MAX {
        under_way.fetch_sub(1, Ordering::AcqRel);
        return Err(ApiError::unavailable("Enough bulk requests are under way. Try again later."));
    }
    let ports = call.api.ports.clone();
    let ending = Ending(Arc::clone(&under_way));
    let spawned = thread::Builder::new().name("bulk".to_owned()).spawn(move || {
        let _ending = ending;
        ask_all(&ports, queues);
    });
    spawned.map(drop).map_err(|error| ApiError::unavailable(format!("No thread can be started: {error}.")))
}

/// Counts a bulk request as over when it is dropped.
struct Ending(Arc<AtomicUsize>);

impl Drop for Ending {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Asks each shard for its part, a window of it at a time: they share a turn and its sync.
fn ask_all(ports: &[AdminPort], mut queues: Vec<VecDeque<Command>>) {
    while queues.iter().any(|queue| !queue.is_empty()) {
        let mut answers = Vec::new();
        for (port, queue) in ports.iter().zip(&mut queues) {
            let window = queue.len().min(BULK_WINDOW);
            answers.extend(queue.drain(..window).map(|command| port.send(command)));
        }
        for answer in answers {
            note(answer.map(|answer: Receiver<Answer>| AdminPort::wait(&answer)));
        }
    }
}

fn note(answer: Result<Result<Answer, AskError>, AskError>) {
    match answer {
        // Someone else asked for a rerun in between, or the run ended.
        Ok(Ok(Answer::Run(_) | Answer::Done | Answer::Refused(Refusal::Open | Refusal::Ended))) => {}
        Ok(Ok(other)) => tracing::warn!(?other, "one of many requests was refused"),
        Ok(Err(error)) | Err(error) => tracing::warn!(%error, "one of many requests was not asked"),
    }
}
