//! How long messages are on their way that come at a rate: to librdkafka alone, to their work order, to the end of their run.
//!
//! Invariant: each counts from the time that the message was due, whenever it was sent.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc::sync_channel,
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use keyway_engine::project::Project;
use keyway_ingest::{time, trigger::kafka::drain::Drain};
use serde_json::Value;

use super::{broker::Reading, messages::due_us};
use crate::{
    bench::{load::interval::Interval, measure::of_parts, report::Measure},
    client::Client,
    failure::Failure,
    item::Item,
};

/// How long nothing may come before the rest is given up.
const SILENCE: Duration = Duration::from_secs(5);

/// Librdkafka alone, which takes the same messages at the same time as the server does, and throws them away.
pub struct Beside {
    thread: JoinHandle<Result<Interval, Failure>>,
    /// How many it is to see in all; unknown until they are sent.
    count: Arc<AtomicU64>,
}

impl Beside {
    /// Begins to take, in a thread of its own. When this returns it waits for messages, as the server does.
    pub fn start(project: &Arc<Project>, reading: Reading) -> Result<Self, Failure> {
        let (count, project) = (Arc::new(AtomicU64::new(u64::MAX)), Arc::clone(project));
        let (open, opened) = sync_channel(1);
        let most = Arc::clone(&count);
        let thread = thread::spawn(move || {
            let drain = reading.open(&project).and_then(|drain| warm(&drain).map(|()| drain));
            // Nobody waits for it only when nothing is measured any more.
            let _ = open.send(());
            take(&drain?, &most)
        });
        // An error is told at the end.
        let _ = opened.recv();
        Ok(Self { thread, count })
    }

    /// What it measured, once it has seen so many.
    pub fn end(self, count: u64, name: &str) -> Result<Measure, Failure> {
        self.count.store(count, Ordering::Release);
        let panicked = |_| Failure::Failed(format!("{name}: its thread panicked"));
        let interval = self.thread.join().map_err(panicked)??;
        Ok(without_samples(of_parts(name, &[interval], 1)))
    }
}

/// Waits until it is fetching: the first messages would pay for the connection.
fn warm(drain: &Drain) -> Result<(), Failure> {
    let begun = Instant::now();
    while !drain.is_reading() && begun.elapsed() < SILENCE {
        // Nothing is sent yet.
        drain.take(&mut |_| {}).map_err(Failure::Failed)?;
    }
    Ok(())
}

fn take(drain: &Drain, count: &AtomicU64) -> Result<Interval, Failure> {
    let (mut interval, mut last) = (Interval::default(), Instant::now());
    loop {
        let most = count.load(Ordering::Acquire);
        let is_silent = most < u64::MAX && last.elapsed() > SILENCE;
        if interval.succeeded >= most || is_silent {
            return Ok(interval);
        }
        let taken = drain.take(&mut |value| {
            if let Some(due) = due_us(value) {
                interval.note_latency(Duration::from_micros(time::now().0.saturating_sub(due)));
                interval.succeeded += 1;
            }
        });
        if taken.map_err(Failure::Failed)? > 0 {
            last = Instant::now();
        }
    }
}

/// When each work order's message was due, and how long they took until they were received: until the turn that made them
/// durable began. Its append and its sync come on top.
pub fn to_received(client: &Client, name: &str) -> Result<(HashMap<String, u64>, Measure), Failure> {
    let (mut sent, mut interval) = (HashMap::new(), Interval::default());
    client.each("/api/work_orders", &[("include", "input".to_owned())], None, &mut |item| {
        let due = item.attributes.get("input").and_then(|input| input["data"]["sent"].as_u64());
        if let Some((due, at)) = due.zip(time_of(&item, "inserted_at")) {
            interval.note_latency(Duration::from_micros(at.saturating_sub(due)));
            interval.succeeded += 1;
            sent.insert(item.id.clone(), due);
        }
        Ok(())
    })?;
    Ok((sent, without_samples(of_parts(name, &[interval], 1))))
}

/// How long they took until their runs had ended.
pub fn to_finished(client: &Client, sent: &HashMap<String, u64>) -> Result<Measure, Failure> {
    let mut interval = Interval::default();
    client.each("/api/runs", &[], None, &mut |item| {
        let order = item.attributes.get("work_order_id").and_then(Value::as_str);
        let due = order.and_then(|order| sent.get(order));
        if let Some((due, at)) = due.zip(time_of(&item, "finished_at")) {
            interval.note_latency(Duration::from_micros(at.saturating_sub(*due)));
            interval.succeeded += 1;
        }
        Ok(())
    })?;
    Ok(without_samples(of_parts("sent to finished", &[interval], 1)))
}

/// All were looked up at once: there is nothing to say of single seconds.
fn without_samples(measure: Measure) -> Measure {
    Measure { samples: Vec::new(), ..measure }
}

fn time_of(item: &Item, name: &str) -> Option<u64> {
    let text = item.attributes.get(name)?.as_str()?;
    time::parse(text).map(|time| time.0)
}
