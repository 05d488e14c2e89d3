//! A load: threads that send, and one place where what they saw comes together, second by second.
//!
//! Invariant: what is reported of a second was seen by every thread; a load that ends early reports what it has.

pub mod answer;
pub mod connection;
pub mod interval;
pub mod random;
pub mod requests;
pub mod schedule;
pub mod signer;
pub mod template;
pub mod worker;

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{
        Arc, Barrier,
        atomic::{AtomicBool, Ordering},
        mpsc::{Receiver, RecvTimeoutError, sync_channel},
    },
    thread,
    time::Duration,
};

use interval::Interval;
use random::Random;
use requests::{Recipe, Requests};
use schedule::Schedule;
use worker::{Report, Setup, Tally, Timing, Worker};

use super::{process::Process, progress::Progress};
use crate::{args::bench::Arrivals, failure::Failure, signals::Interrupt};

/// Seconds with nothing but errors after which a load ends: the server is gone, or refuses everything.
const HOPELESS_SECONDS: u64 = 3;
/// Longest time without a look at whether someone wants the load to end.
const LOOK_MS: u64 = 100;

/// A load on one address.
pub struct Load {
    /// Where to.
    pub address: SocketAddr,
    /// What.
    pub recipe: Arc<Recipe>,
    /// Open connections, over all threads.
    pub connections: usize,
    /// Threads that send.
    pub threads: usize,
    /// Requests a second; without it each connection sends when its last request is answered.
    pub rate: Option<f64>,
    /// How the times of a rate are spread.
    pub arrivals: Arrivals,
    /// How long.
    pub timing: Timing,
    /// Whether acknowledged work orders are kept.
    pub keeps: bool,
}

/// One second of a load.
pub struct Second {
    /// What all threads saw.
    pub interval: Interval,
    /// CPU of the server until its end, in seconds.
    pub server_cpu: Option<f64>,
    /// Memory of the server at its end.
    pub server_bytes: Option<u64>,
    /// CPU of the load generator until its end, in seconds.
    pub own_cpu: Option<f64>,
}

/// What came of a load.
pub struct Outcome {
    /// The seconds that were measured; the last one of a load that ended early is not whole.
    pub seconds: Vec<Second>,
    /// What came in after them.
    pub late: Interval,
    /// CPU of the server, and of the load generator, when measuring began.
    pub cpu_before: (Option<f64>, Option<f64>),
    /// What is known at the end.
    pub tally: Tally,
    /// Whether someone ended it.
    pub interrupted: bool,
    /// Whether it was given up because nothing but errors came.
    pub hopeless: bool,
}

/// What looks on while a load runs.
pub struct Watch<'a> {
    /// The server's process, when it is known.
    pub server: Option<Process>,
    /// Ends the load.
    pub interrupt: &'a Interrupt,
    /// Shows how far it is.
    pub progress: &'a mut Progress,
}

impl Load {
    /// Runs it.
    pub fn run(&self, watch: &mut Watch<'_>) -> Result<Outcome, Failure> {
        let failed = |error| Failure::Failed(format!("the load cannot be started: {error}"));
        let threads = self.threads.min(self.connections);
        let gate = Arc::new(Barrier::new(threads));
        let stop = Arc::new(AtomicBool::new(false));
        let (sender, reports) = sync_channel(threads * 4);
        let mut workers = Vec::new();
        for thread in 0..threads {
            let random = (self.arrivals == Arrivals::Poisson)
                .then(|| Random::new(self.recipe.seed.wrapping_add(thread as u64)));
            let setup = Setup {
                address: self.address,
                timing: self.timing,
                requests: Requests::new(Arc::clone(&self.recipe), thread, threads),
                schedule: self.rate.map(|rate| Schedule::new(rate, thread, threads, random)),
                connections: self.connections / threads + usize::from(thread < self.connections % threads),
                threads,
                keeps: self.keeps,
                stop: Arc::clone(&stop),
                reports: sender.clone(),
            };
            workers.push(Worker::new(setup).map_err(failed)?);
        }
        drop(sender);
        let start = |(number, worker): (usize, Worker)| {
            let gate = Arc::clone(&gate);
            thread::Builder::new().name(format!("load-{number}")).spawn(move || worker.run(&gate))
        };
        let handles = workers.into_iter().enumerate().map(start).collect::<Result<Vec<_>, _>>();
        let handles = handles.map_err(failed)?;
        let mut outcome = self.collect(&reports, threads, &stop, watch);
        for handle in handles {
            outcome
                .tally
                .add(handle.join().map_err(|_| Failure::Failed("a load thread panicked".to_owned()))?);
        }
        watch.progress.clear();
        Ok(outcome)
    }

    /// Puts together what the threads report, until all have ended.
    fn collect(
        &self,
        reports: &Receiver<Report>,
        threads: usize,
        stop: &AtomicBool,
        watch: &mut Watch<'_>,
    ) -> Outcome {
        let own = Process::own();
        let usage =
            |server: &Option<Process>| (server.as_ref().and_then(Process::cpu_seconds), own.cpu_seconds());
        let mut outcome = Outcome {
            seconds: Vec::new(),
            late: Interval::default(),
            cpu_before: usage(&watch.server),
            tally: Tally::default(),
            interrupted: false,
            hopeless: false,
        };
        let whole = self.timing.warm_up + self.timing.seconds;
        let mut open: BTreeMap<u64, (usize, Interval)> = BTreeMap::new();
        let mut hopeless = 0;
        loop {
            if watch.interrupt.wait(Duration::ZERO) {
                outcome.interrupted = true;
                stop.store(true, Ordering::Relaxed);
            }
            let report = match reports.recv_timeout(Duration::from_millis(LOOK_MS)) {
                Ok(report) => report,
                Err(RecvTimeoutError::Timeout) => continue,
                Err(RecvTimeoutError::Disconnected) => break,
            };
            let (count, interval) = open.entry(report.second).or_default();
            (*count, _) = (*count + 1, interval.add(&report.interval));
            if *count < threads || stop.load(Ordering::Relaxed) || report.second >= whole {
                continue;
            }
            let interval = open.remove(&report.second).map(|(_, interval)| interval).unwrap_or_default();
            hopeless = if interval.succeeded == 0 && interval.errors() > 0 { hopeless + 1 } else { 0 };
            if hopeless >= HOPELESS_SECONDS {
                outcome.hopeless = true;
                stop.store(true, Ordering::Relaxed);
            }
            let (server_cpu, own_cpu) = usage(&watch.server);
            watch.progress.second(report.second, self.timing.warm_up, self.timing.seconds, &interval);
            if report.second < self.timing.warm_up {
                outcome.cpu_before = (server_cpu, own_cpu);
                continue;
            }
            let server_bytes = watch.server.as_ref().and_then(Process::memory_bytes);
            outcome.seconds.push(Second { interval, server_cpu, server_bytes, own_cpu });
        }
        // What is left came after the last whole second: late answers, or what was under way when the load was ended.
        for (second, (_, interval)) in open {
            if second >= self.timing.warm_up {
                outcome.late.add(&interval);
            }
        }
        outcome
    }
}
