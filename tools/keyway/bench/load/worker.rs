//! A load thread: many connections, one loop, a clock that is read once for each answer.
//!
//! It speaks HTTP by itself, because a client made for comfort costs more than the server that is measured: with
//! requests written whole and answers parsed in place, one thread drives what two cores can answer.
//!
//! Invariant: each request that was due is noted once: as answered, as refused, as broken off, or as not answered.

use std::{
    collections::VecDeque,
    net::SocketAddr,
    os::fd::OwnedFd,
    sync::{
        Arc, Barrier,
        atomic::{AtomicBool, Ordering},
        mpsc::SyncSender,
    },
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use keyway_storage::limits::{BENCH_ACKNOWLEDGED_MAX, BENCH_DRAIN_SECONDS};
use rustix::{
    buffer::spare_capacity,
    event::{
        Timespec,
        epoll::{self, CreateFlags, Event, EventData, EventFlags},
    },
};

use super::{
    answer::Answer,
    connection::{Connection, Seen, Stage},
    interval::{Interval, is_success},
    requests::Requests,
    schedule::Schedule,
};

/// Longest time to the first look at all connections.
const CONNECT_SECONDS_MAX: u64 = 5;
/// Pause before a connection that was refused is tried again.
const RETRY_MS: u64 = 100;
/// Longest wait without a look at whether the load is to end.
const LOOK_MS: u64 = 50;
/// The trouble of a connection that could not be made.
const NOT_CONNECTED: &str = "not_connected";
/// Events that are taken from the kernel at once.
const EVENTS_MAX: usize = 1_024;
/// What is read of a connection at once.
const READ_BYTES: usize = 64 << 10;

/// How long a load goes on.
#[derive(Debug, Clone, Copy)]
pub struct Timing {
    /// Seconds that are not measured.
    pub warm_up: u64,
    /// Seconds that are.
    pub seconds: u64,
    /// Longest time for an answer.
    pub timeout: Duration,
}

/// What a thread reports: a second by its number, from the beginning; the one behind the last is what came late.
pub struct Report {
    /// Number of the second.
    pub second: u64,
    /// What was seen in it.
    pub interval: Interval,
}

/// What is known when a load ends.
#[derive(Debug, Default)]
pub struct Tally {
    /// Work orders that were acknowledged, in any order.
    pub acknowledged: Vec<u128>,
    /// Whether there were more than are kept.
    pub overflowed: bool,
    /// Repeats that were acknowledged with another work order than the request that they repeat.
    pub repeated_differently: u64,
}

/// One thread's part of a load.
pub struct Worker {
    setup: Setup,
    acknowledged_max: usize,
    epoll: OwnedFd,
    connections: Vec<Connection>,
    idle: VecDeque<usize>,
    /// Connections that were refused, and when they are tried again.
    refused: VecDeque<(Instant, usize)>,
    begin: Instant,
    second: u64,
    interval: Interval,
    tally: Tally,
    buffer: Vec<u8>,
}

/// What a thread needs to begin.
pub struct Setup {
    /// Where to.
    pub address: SocketAddr,
    /// How long.
    pub timing: Timing,
    /// What.
    pub requests: Requests,
    /// When, if not at once.
    pub schedule: Option<Schedule>,
    /// Connections of this thread.
    pub connections: usize,
    /// Threads of the load.
    pub threads: usize,
    /// Whether acknowledged work orders are kept.
    pub keeps: bool,
    /// Ends the load early.
    pub stop: Arc<AtomicBool>,
    /// Takes what was seen.
    pub reports: SyncSender<Report>,
}

impl Worker {
    /// A thread's part, not begun.
    pub fn new(setup: Setup) -> std::io::Result<Self> {
        let acknowledged_max = if setup.keeps { BENCH_ACKNOWLEDGED_MAX / setup.threads } else { 0 };
        Ok(Self {
            acknowledged_max,
            epoll: epoll::create(CreateFlags::CLOEXEC)?,
            connections: (0..setup.connections).map(|_| Connection::default()).collect(),
            idle: VecDeque::new(),
            refused: VecDeque::new(),
            begin: Instant::now(),
            second: 0,
            interval: Interval::default(),
            tally: Tally::default(),
            buffer: vec![0; READ_BYTES],
            setup,
        })
    }

    /// Connects, waits for the other threads at the gate, and sends until the load is over.
    pub fn run(mut self, gate: &Barrier) -> Tally {
        let mut events = Vec::with_capacity(EVENTS_MAX);
        let give_up = Instant::now() + Duration::from_secs(CONNECT_SECONDS_MAX);
        (0..self.connections.len()).for_each(|index| self.connect(index));
        let is_connecting = |worker: &Self| worker.connections.iter().any(|it| it.stage == Stage::Connecting);
        while is_connecting(&self) && Instant::now() < give_up {
            self.wait(&mut events, Duration::from_millis(LOOK_MS), false);
        }
        gate.wait();
        self.begin = Instant::now();
        let end = self.end();
        let mut now = Duration::ZERO;
        while !self.setup.stop.load(Ordering::Relaxed) && !self.is_over(now, end) {
            self.send_due(now, end);
            let pause = self.pause(now);
            self.wait(&mut events, pause, true);
            now = self.begin.elapsed();
            self.close_seconds(now);
        }
        if !self.setup.stop.load(Ordering::Relaxed) {
            self.note_unanswered(now, end);
        }
        self.report();
        self.tally
    }

    fn end(&self) -> Duration {
        Duration::from_secs(self.setup.timing.warm_up + self.setup.timing.seconds)
    }

    /// Whether everything that was due is answered, or was waited for long enough.
    fn is_over(&self, now: Duration, end: Duration) -> bool {
        let is_sent = self.setup.schedule.as_ref().is_none_or(|schedule| schedule.next() >= end);
        let is_quiet = || self.connections.iter().all(|connection| connection.stage != Stage::Busy);
        now >= end && (is_sent && is_quiet() || now >= end + Duration::from_secs(BENCH_DRAIN_SECONDS))
    }

    /// Sends what is due, as far as there are connections for it.
    fn send_due(&mut self, now: Duration, end: Duration) {
        while let Some(&index) = self.idle.front() {
            let arrived = match &mut self.setup.schedule {
                Some(schedule) if schedule.next() <= now && schedule.next() < end => {
                    let arrived = schedule.next();
                    schedule.advance();
                    arrived
                }
                None if now < end => now,
                _ => return,
            };
            self.idle.pop_front();
            self.send(index, arrived, now);
        }
    }

    fn send(&mut self, index: usize, arrived: Duration, now: Duration) {
        let repeats = self.setup.requests.repeats();
        let connection = &mut self.connections[index];
        connection.is_repeat = repeats && connection.work_order.is_some();
        if !connection.is_repeat {
            connection.work_order = None;
            let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            self.setup.requests.write(since_1970.as_secs(), &mut connection.request);
        }
        match connection.start(arrived, now) {
            Ok(()) => self.wait_for_room(index),
            Err(_) => self.lose(index, "closed"),
        }
    }

    /// Waits for room in a socket while a request is not written whole, and no longer.
    fn wait_for_room(&mut self, index: usize) {
        let connection = &mut self.connections[index];
        let waits = connection.is_writing() || connection.stage == Stage::Connecting;
        if waits == connection.waits_for_room {
            return;
        }
        connection.waits_for_room = waits;
        let flags = if waits { EventFlags::IN | EventFlags::OUT } else { EventFlags::IN };
        let Some(socket) = connection.socket() else { return };
        // A socket that cannot be waited on any more shows its error to the next read.
        let _ = epoll::modify(&self.epoll, socket, EventData::new_u64(index as u64), flags);
    }

    fn wait(&mut self, events: &mut Vec<Event>, pause: Duration, sends: bool) {
        let timeout = Timespec { tv_sec: pause.as_secs() as i64, tv_nsec: i64::from(pause.subsec_nanos()) };
        events.clear();
        // Interrupted by a signal, there is nothing to do but to look again.
        let _ = epoll::wait(&self.epoll, spare_capacity(events), Some(&timeout));
        for event in events.iter() {
            let index = event.data.u64() as usize;
            let can_write = { event.flags }.intersects(EventFlags::OUT | EventFlags::ERR | EventFlags::HUP);
            match self.connections[index].stage {
                Stage::Down => {}
                Stage::Connecting if can_write => self.finish_connect(index),
                Stage::Connecting => {}
                Stage::Idle | Stage::Busy => self.drive(index, can_write, sends),
            }
        }
        self.retry();
    }

    fn finish_connect(&mut self, index: usize) {
        if self.connections[index].finish_connect() {
            self.wait_for_room(index);
            self.idle.push_back(index);
        } else {
            self.lose(index, NOT_CONNECTED);
        }
    }

    fn drive(&mut self, index: usize, can_write: bool, sends: bool) {
        let connection = &mut self.connections[index];
        if can_write && connection.is_writing() {
            if connection.write().is_err() {
                return self.lose(index, "closed");
            }
            self.wait_for_room(index);
        }
        let connection = &mut self.connections[index];
        let seen = connection.read(&mut self.buffer);
        match (seen, connection.stage) {
            (Seen::Nothing, _) => {}
            (Seen::Answered(answer), Stage::Busy) => self.take(index, &answer, sends),
            // The server closed a connection that nobody used, or spoke without being asked.
            (_, Stage::Idle) => {
                self.idle.retain(|idle| *idle != index);
                self.connect(index);
            }
            (Seen::Closed, _) => self.lose(index, "closed"),
            (Seen::Answered(_) | Seen::Nonsense, _) => self.lose(index, "not_http"),
        }
    }

    fn take(&mut self, index: usize, answer: &Answer, sends: bool) {
        let now = self.begin.elapsed();
        self.close_seconds(now);
        let is_measured = self.is_measured(self.connections[index].arrived);
        let connection = &mut self.connections[index];
        self.interval.note_answer(answer.status);
        if is_success(answer.status) {
            if is_measured {
                self.interval.note_latency(now.saturating_sub(connection.arrived));
            }
            self.tally.note(connection, answer, self.acknowledged_max);
        }
        connection.stage = Stage::Idle;
        if !answer.keeps_alive {
            return self.connect(index);
        }
        self.idle.push_back(index);
        if sends && self.setup.schedule.is_none() {
            self.send_due(now, self.end());
        }
    }

    fn is_measured(&self, arrived: Duration) -> bool {
        arrived >= Duration::from_secs(self.setup.timing.warm_up)
    }

    /// The request under way, or the try to connect, came to nothing.
    fn lose(&mut self, index: usize, trouble: &'static str) {
        self.interval.note_trouble(trouble);
        let connection = &mut self.connections[index];
        connection.work_order = None;
        if trouble == NOT_CONNECTED {
            connection.close();
            let again = Instant::now() + Duration::from_millis(RETRY_MS);
            self.refused.push_back((again, index));
        } else {
            self.connect(index);
        }
    }

    fn connect(&mut self, index: usize) {
        let connection = &mut self.connections[index];
        connection.waits_for_room = true;
        let added = connection.connect(self.setup.address).and_then(|()| {
            let socket = connection.socket().ok_or(std::io::ErrorKind::NotConnected)?;
            let data = EventData::new_u64(index as u64);
            Ok(epoll::add(&self.epoll, socket, data, EventFlags::IN | EventFlags::OUT)?)
        });
        if added.is_err() {
            self.lose(index, NOT_CONNECTED);
        }
    }

    /// Tries refused connections again when it is time.
    fn retry(&mut self) {
        while let Some(&(at, index)) = self.refused.front()
            && at <= Instant::now()
        {
            self.refused.pop_front();
            self.connect(index);
        }
    }

    /// How long nothing is due.
    fn pause(&self, now: Duration) -> Duration {
        let second = Duration::from_secs(self.second + 1).saturating_sub(now);
        let look = second.min(Duration::from_millis(LOOK_MS));
        match &self.setup.schedule {
            Some(schedule) if !self.idle.is_empty() => look.min(schedule.next().saturating_sub(now)),
            _ => look,
        }
    }

    /// Reports the seconds that are over, and gives up what waited too long.
    fn close_seconds(&mut self, now: Duration) {
        while now.as_secs() > self.second
            && self.second < self.setup.timing.warm_up + self.setup.timing.seconds
        {
            self.report();
            self.give_up(now);
        }
    }

    fn report(&mut self) {
        let report = Report { second: self.second, interval: self.interval.clone() };
        // Nobody listens any more when the load is given up.
        let _ = self.setup.reports.send(report);
        self.interval.clear();
        self.second += 1;
    }

    fn give_up(&mut self, now: Duration) {
        for index in 0..self.connections.len() {
            let connection = &self.connections[index];
            if connection.stage == Stage::Busy
                && now.saturating_sub(connection.sent) > self.setup.timing.timeout
            {
                let arrived = connection.arrived;
                if self.is_measured(arrived) {
                    self.interval.note_latency(now.saturating_sub(arrived));
                }
                self.lose(index, "timeout");
            }
        }
    }

    /// Notes what is still under way, and what was due and never sent, with the time that it has waited.
    fn note_unanswered(&mut self, now: Duration, end: Duration) {
        let mut note = |arrived: Duration| {
            self.interval.note_latency(now.saturating_sub(arrived));
            self.interval.note_trouble("unanswered");
        };
        let busy = self.connections.iter().filter(|connection| connection.stage == Stage::Busy);
        busy.for_each(|connection| note(connection.arrived));
        if let Some(schedule) = &mut self.setup.schedule {
            while schedule.next() < end {
                note(schedule.next());
                schedule.advance();
            }
        }
    }
}

impl Tally {
    fn note(&mut self, connection: &mut Connection, answer: &Answer, acknowledged_max: usize) {
        if connection.is_repeat {
            self.repeated_differently += u64::from(connection.work_order != answer.work_order);
            return;
        }
        connection.work_order = answer.work_order;
        match answer.work_order {
            Some(id) if self.acknowledged.len() < acknowledged_max => self.acknowledged.push(id),
            Some(_) => self.overflowed = acknowledged_max > 0,
            None => {}
        }
    }

    /// Takes in what another thread knows.
    pub fn add(&mut self, other: Self) {
        self.acknowledged.extend(other.acknowledged);
        self.overflowed |= other.overflowed;
        self.repeated_differently += other.repeated_differently;
    }
}
