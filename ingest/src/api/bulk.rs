//! What is asked of many at once: reruns of all work orders that fit a filter, cancels of all runs, discards of all dead
//! letters that do, in the order in which each shard received them.
//!
//! Invariant: what is matched is fixed when the request is answered, and in the log: it is asked of each after it, oldest
//! first in each shard, whatever restarts there are.

mod job;

use std::{collections::VecDeque, sync::atomic::Ordering};

use hyper::StatusCode;
use keyway_engine::{
    command::{BulkWish, Command},
    run::is_final,
    view::{
        bulk::open_bulks,
        list::{Filter, LetterFilter, dead_letters, runs, work_orders},
        order::WorkOrder,
        run::initial_state_of,
        walk::Range,
    },
};
use keyway_storage::{
    event::{BulkDeed, BulkStarted, DeadLettered, RunState, wiped_at},
    limits::{BULK_REQUESTS_MAX, BULK_RERUNS_MAX, PAGE_ITEMS_MAX},
    place::{Place, RunKey, ShardId},
};
use serde_json::{Map, Value};
use uuid::Uuid;

use super::{
    Api, ApiError, Reply, call::Call, document::Document, letter, page, replay::range::KafkaRange,
    request::Version, shape::reason_named, whole::Whole,
};

use job::Job;

/// The names of a dead letter's filters.
const LETTER_FILTERS: &[&str] = &["trigger_id", "reason", "inserted_after", "inserted_before", "kafka"];

/// `POST /api/reruns`.
pub fn rerun_all(call: &Call) -> Reply {
    let mut body = call.body(&["filters", "dry_run", "version"])?;
    let version = Version::read(&mut body)?;
    let (filters, dry_run) = asked(body, page::FILTERS)?;
    let deed = BulkDeed::Rerun { original: version == Version::Original };
    answer(call, whole(call, |call| ended(call, &filters))?, deed, dry_run)
}

/// `POST /api/cancels`.
pub fn cancel_all(call: &Call) -> Reply {
    let (filters, dry_run) = asked(call.body(&["filters", "dry_run"])?, page::FILTERS)?;
    answer(call, whole(call, |call| open(call, &filters))?, BulkDeed::Cancel, dry_run)
}

/// `POST /api/discards`.
pub fn discard_all(call: &Call) -> Reply {
    let mut body = call.body(&["filters", "dry_run", "reason"])?;
    let reason = letter::reason(&mut body)?;
    let (filters, dry_run) = asked(body, LETTER_FILTERS)?;
    answer(call, whole(call, |call| letters(call, &filters))?, BulkDeed::Discard { reason }, dry_run)
}

fn asked(mut body: Map<String, Value>, known: &[&str]) -> Result<(Map<String, Value>, bool), ApiError> {
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
    if let Some(unknown) = filters.keys().find(|name| !known.contains(&name.as_str())) {
        return Err(ApiError::invalid(format!("`filters`: there is no filter `{unknown}`.")));
    }
    Ok((filters, dry_run))
}

/// What is found while the views show everything.
fn whole(call: &Call, find: impl FnOnce(&Call) -> Result<Queues, ApiError>) -> Result<Queues, ApiError> {
    let whole = Whole::of(&call.readers)?;
    let found = find(call)?;
    whole.check()?;
    Ok(found)
}

fn answer(call: &Call, queues: Queues, deed: BulkDeed, dry_run: bool) -> Reply {
    let mut answer = Document::default().with("matched", queues.count).with("dry_run", dry_run);
    for (name, count) in [("wiped", queues.wiped), ("without_workflow", queues.without_workflow)] {
        if count > 0 {
            answer = answer.with(name, count);
        }
    }
    if !dry_run && queues.count > 0 {
        start(call, queues.by_shard, deed)?;
    }
    Ok((StatusCode::ACCEPTED, Document::data(answer)))
}

/// Of whom something is to be asked on each shard, oldest first.
struct Queues {
    by_shard: Vec<VecDeque<RunKey>>,
    count: usize,
    /// Work orders that fit and cannot run again, because their input was wiped.
    wiped: usize,
    /// Those that cannot, because the project no longer has their workflow.
    without_workflow: usize,
}

impl Queues {
    fn new(call: &Call) -> Self {
        let by_shard = call.readers.iter().map(|_| VecDeque::new()).collect();
        Self { by_shard, count: 0, wiped: 0, without_workflow: 0 }
    }

    /// Adds one that is older than those before it.
    fn add(&mut self, of: Place, n: u8) -> Result<(), ApiError> {
        self.by_shard[usize::from(of.shard.0)].push_front(RunKey { work_order: of.offset, n });
        self.count += 1;
        if self.count > BULK_RERUNS_MAX {
            let message = format!("More than {BULK_RERUNS_MAX} match: narrow the filters.");
            return Err(ApiError::invalid(message));
        }
        Ok(())
    }
}

/// Work orders that have ended, with their last run.
fn ended(call: &Call, filters: &Map<String, Value>) -> Result<Queues, ApiError> {
    let mut queues = Queues::new(call);
    let Some(filter) = page::work_order_filter(filters)? else { return Ok(queues) };
    let Some(project) = call.current()? else { return Ok(queues) };
    let mut range = range(filters)?;
    loop {
        let found = work_orders(&call.readers, &filter, &range)?;
        for order in found.items.iter().filter(|order| is_final(order.state)) {
            if project.workflow(order.received.workflow).is_none() {
                queues.without_workflow += 1;
                continue;
            }
            if is_wiped(call, order)? {
                queues.wiped += 1;
                continue;
            }
            queues.add(order.event.place, order.runs.len() as u8)?;
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

/// Runs that wait, or that workers have.
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
                queues.add(order.event.place, run.n)?;
            }
            range.behind = found.next;
            if range.behind.is_none() {
                break;
            }
        }
    }
    Ok(queues)
}

/// Dead letters that are open.
fn letters(call: &Call, filters: &Map<String, Value>) -> Result<Queues, ApiError> {
    let trigger = page::trigger(filters)?;
    let reason = page::Values::value(filters, "reason")?.map(|name| reason_named(&name)).transpose()?;
    let kafka = match filters.get("kafka") {
        None | Some(Value::Null) => None,
        Some(Value::Object(kafka)) => KafkaRange::of_object(kafka)?,
        Some(_) => return Err(ApiError::invalid("`kafka` must be an object.")),
    };
    let fits = |letter: &DeadLettered| {
        trigger.is_none_or(|trigger| trigger == letter.trigger)
            && reason.is_none_or(|reason| reason == letter.letter.reason)
            && kafka.as_ref().is_none_or(|range| range.holds(&letter.letter.request))
    };
    let (mut queues, mut range) = (Queues::new(call), range(filters)?);
    loop {
        let found = dead_letters(&call.readers, &LetterFilter { open: Some(true) }, &range, fits)?;
        for (event, _) in &found.items {
            queues.add(event.place, 0)?;
        }
        range.behind = found.next;
        if range.behind.is_none() {
            return Ok(queues);
        }
    }
}

fn range(filters: &Map<String, Value>) -> Result<Range, ApiError> {
    let after = page::moment(filters, "inserted_after")?;
    let before = page::moment(filters, "inserted_before")?;
    Ok(Range { after, before, behind: None, most: PAGE_ITEMS_MAX })
}

/// Notes on each shard of whom something is asked there, then begins to ask.
fn start(call: &Call, queues: Vec<VecDeque<RunKey>>, deed: BulkDeed) -> Result<(), ApiError> {
    let under_way = &call.api.under_way.bulk;
    if under_way.fetch_add(1, Ordering::AcqRel) >= BULK_REQUESTS_MAX {
        under_way.fetch_sub(1, Ordering::AcqRel);
        return Err(ApiError::unavailable("Enough bulk requests are under way. Try again later."));
    }
    let mut job = Job::new(call.api, Uuid::new_v4().into_bytes(), deed);
    for (shard, of) in queues.into_iter().enumerate().filter(|(shard, of)| *shard == 0 || !of.is_empty()) {
        job.add(ShardId(shard as u8), of);
    }
    for (shard, of) in job.shards() {
        let of = of.iter().copied().collect();
        let begin = BulkWish::Begin(BulkStarted { id: job.id, deed: job.deed.clone(), of });
        call.ask(ShardId(shard as u8), Command::Bulk(begin))?;
    }
    job.spawn().map_err(|error| ApiError::unavailable(format!("No thread can be started: {error}.")))
}

impl Api {
    /// Goes on with what was asked of many before the last end of the process. Once, at the start.
    pub fn take_up_bulks(&self) -> Result<(), ApiError> {
        let mut found: Vec<Job> = Vec::new();
        for reader in &self.readers {
            for BulkStarted { id, deed, of } in open_bulks(reader)? {
                let index = found.iter().position(|job| job.id == id).unwrap_or_else(|| {
                    self.under_way.bulk.fetch_add(1, Ordering::AcqRel);
                    found.push(Job::new(self, id, deed));
                    found.len() - 1
                });
                found[index].add(reader.shard, of);
            }
        }
        found.iter_mut().for_each(Job::forget_unless_whole);
        let spawned = found.into_iter().try_for_each(Job::spawn);
        spawned.map_err(|error| ApiError::unavailable(format!("No thread can be started: {error}.")))
    }
}

#[cfg(test)]
mod tests {
    use super::Queues;
    use keyway_storage::{
        limits::BULK_RERUNS_MAX,
        place::{Offset, Place, ShardId},
    };
    use std::collections::VecDeque;

    #[test]
    fn more_than_are_kept_in_memory_are_refused() {
        let by_shard = vec![VecDeque::new(), VecDeque::new()];
        let mut queues = Queues { by_shard, count: 0, wiped: 0, without_workflow: 0 };
        let mut add = |n: usize| {
            let place = Place { shard: ShardId((n % 2) as u8), offset: Offset(n as u64) };
            queues.add(place, 1)
        };
        for n in 0..BULK_RERUNS_MAX {
            assert!(add(n).is_ok());
        }
        let refused = add(BULK_RERUNS_MAX).expect_err("that is one too many");
        let response = refused.into_response();
        let text = String::from_utf8_lossy(&response.body).into_owned();
        assert_eq!(response.status, 422);
        assert!(text.contains("More than 250000 match: narrow the filters."), "{text}");
    }
}
