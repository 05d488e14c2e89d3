//! Reads messages from Kafka: how fast they become durable, how fast their runs end, and how long each takes on its way.
//!
//! Invariant: librdkafka alone, told what the trigger's consumer is told, throws the same messages away in the same run; so is
//! the disk alone measured, with blocks of as many messages as the server appended at once.

mod broker;
mod course;
mod disk;
mod messages;
mod way;

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use keyway_engine::project::{Mistake, Origin, Project, read};
use keyway_ingest::{secret::EnvAndFiles, time, trigger::types};
use keyway_storage::limits::IN_FLIGHT_MAX;
use serde_json::{Value, json};

use super::{
    begin, hand_over,
    load::schedule::Schedule,
    metrics::Metrics,
    process::Process,
    progress::Progress,
    report::{Measure, Report, Step},
    started::{Started, choice, flag},
    workspace::Workspace,
};
use crate::{
    args::bench::{Kafka, Ordering},
    client::Client,
    failure::Failure,
    print::Printer,
    signals::Interrupt,
};
use broker::Broker;
use course::Course;
use disk::Disk;
use messages::Messages;
use way::{Beside, to_finished, to_received};

const TRIGGER: &str = "9a4d0e77-5c13-4b8e-b6f2-0d7e1c5a3b05";
/// The baseline.
const THROWN_AWAY: &str = "consume and throw away";
/// Pause between two looks at how far the server is.
const LOOK: Duration = Duration::from_millis(20);
/// A server that gets nowhere for so long is given up.
const STALL: Duration = Duration::from_secs(30);
/// Pause between two looks at the clock when messages are sent at a rate.
const PACE: Duration = Duration::from_millis(1);
/// Pause between two looks at the server meanwhile: each costs it something.
const PACED_LOOK: Duration = Duration::from_secs(1);

/// What is needed for each part.
struct Bench<'a> {
    flags: &'a Kafka,
    workspace: &'a Workspace,
    broker: Broker,
    /// What the server has, and whose trigger says how librdkafka is to read.
    project: Arc<Project>,
    interrupt: Interrupt,
    progress: Progress,
    report: Report,
    goes_on: bool,
}

/// Measures, and reports.
pub fn kafka(flags: &Kafka, out: &mut Printer) -> Result<(), Failure> {
    let workspace = Workspace::new(&flags.work_dir)?;
    let settings = json!({
        "messages": flags.messages,
        "backlog": flags.backlog,
        "rate": flags.rate,
        "seconds": flags.seconds,
        "partitions": flags.partitions,
        "body_bytes": flags.body_bytes,
        "keys": flags.keys,
        "zipf": flags.zipf,
        "ordering": choice(&ordering(flags)),
        "executors": flags.executors,
        "shards": flags.shards,
        "durability": choice(&flags.durability),
    });
    let report = begin("kafka", workspace.path(), settings)?;
    let sent = flags.rate.map_or(flags.messages, |rate| u64::from(rate) * flags.seconds);
    if sent > IN_FLIGHT_MAX {
        let hint = format!(
            "--rate and --seconds make {sent} messages; a trigger has at most {IN_FLIGHT_MAX} runs open"
        );
        return Err(Failure::Usage(hint));
    }
    let broker = Broker::open(&flags.hosts, flags.partitions)?;
    let (interrupt, progress) = (Interrupt::new()?, Progress::new());
    let (workspace, project) = (&workspace, project(flags, &broker.topic)?);
    let mut bench = Bench { flags, workspace, broker, project, interrupt, progress, report, goes_on: true };
    let ended = match flags.rate {
        Some(rate) => bench.pass(f64::from(rate)),
        None => bench.drain(),
    };
    bench.progress.clear();
    if let (Err(failure), true) = (&ended, bench.report.steps.is_empty()) {
        return Err(failure.clone());
    }
    if !bench.goes_on {
        bench.report.notes.push("someone ended the bench before its time".to_owned());
    }
    hand_over(&bench.report, &flags.output, out)?;
    ended
}

impl Bench<'_> {
    /// Messages that wait in Kafka: thrown away by librdkafka alone, then read by a server.
    fn drain(&mut self) -> Result<(), Failure> {
        let (count, mut messages) = (self.flags.messages, Messages::new(self.flags));
        let waiting = self.flags.backlog.unwrap_or(0).max(count);
        self.progress.begin(&format!("sending {waiting} messages"));
        for number in 0..waiting {
            messages.send(&self.broker, number, 0)?;
            if number % 10_000 == 0 {
                self.progress.part(number, waiting);
                if self.is_ended() {
                    return Ok(());
                }
            }
        }
        self.broker.flush()?;
        let (baseline, ended) = self.throw_away(count);
        let ended = ended.and_then(|()| if self.goes_on { self.read(count, &baseline) } else { Ok(()) });
        if self.report.steps.is_empty() {
            self.report.steps.push(Step::new(baseline.name.clone(), baseline, None));
        }
        ended
    }

    /// What librdkafka alone does, as far as it came.
    fn throw_away(&mut self, count: u64) -> (Measure, Result<(), Failure>) {
        self.progress.begin(THROWN_AWAY);
        let mut course = Course::new(Process::own());
        let Self { broker, project, interrupt, goes_on, .. } = self;
        let ended = broker.throw_away(project, count, &mut |read| {
            course.reach(read);
            *goes_on &= !interrupt.wait(Duration::ZERO);
            *goes_on
        });
        (course.measure(THROWN_AWAY), ended)
    }

    /// What a server does with the same messages. Each step is reported as far as it came, whatever happens after it.
    fn read(&mut self, count: u64, baseline: &Measure) -> Result<(), Failure> {
        let server = self.start()?;
        let name = format!("{count} messages, {} partitions", self.flags.partitions);
        self.progress.begin(&format!("{name}, to durable"));
        let (mut durable, ended) = self.follow(&server, "durable", count, &durable);
        let metrics = Client::new(&server.api, false).and_then(|client| client.text("/metrics", &[]));
        durable.appends = metrics.as_ref().ok().map(|text| Metrics::parse(text).since(&Metrics::default()));
        let step = |of: &str, measured: &Measure, baseline| {
            Step::new(format!("{name}, {of}"), measured.clone(), Some(baseline))
        };
        self.report.steps.push(step("to durable", &durable, baseline.clone()));
        ended.and(metrics.map(drop))?;
        let disk = self.disk(&durable)?;
        self.report.notes.push(disk.sizes);
        self.report.steps.push(step("to durable, against the disk", &durable, disk.packed));
        self.report.steps.push(step("to durable, against the disk with whole blocks", &durable, disk.whole));
        if self.flags.executors > 0 && self.goes_on {
            self.progress.begin(&format!("{name}, to finished"));
            let (finished, ended) = self.follow(&server, "finished runs", count, &finished);
            self.report.steps.push(step("to finished", &finished, baseline.clone()));
            ended?;
        }
        Ok(())
    }

    /// The disk alone, in blocks of as many messages as the server appended at once, rounded up.
    fn disk(&mut self, durable: &Measure) -> Result<Disk, Failure> {
        self.progress.begin("the disk alone");
        let each = durable.appends.as_ref().and_then(|appends| appends.events_mean).unwrap_or(1.0);
        let (folder, topic) = (self.workspace.path(), &self.broker.topic);
        Disk::measure(folder, topic, each.ceil() as u64, self.flags.body_bytes as usize)
    }

    /// Messages at times that are fixed in advance, through a server that reads them as they come.
    fn pass(&mut self, rate: f64) -> Result<(), Failure> {
        let server = self.start()?;
        let client = Client::new(&server.api, false)?;
        let ready = Instant::now();
        while !is_reading(&client)? {
            if self.is_ended() || ready.elapsed() > STALL {
                return Err(Failure::Failed("the server does not read from Kafka".to_owned()));
            }
        }
        let name = format!("{rate:.0} messages/s");
        self.progress.begin(&name);
        let beside = Beside::start(&self.project, self.broker.reading())?;
        let (begun, mut course) = (Instant::now(), Course::new(server.process()));
        let sent = self.send(rate, &client, &mut course);
        let goes_on = std::mem::replace(&mut self.goes_on, true);
        let ended = sent.and_then(|count| {
            self.look(&server.api, &mut course, count, &durable)?;
            Ok(count)
        });
        let alone = beside.end(*ended.as_ref().unwrap_or(&0), "sent to librdkafka alone");
        let alone = alone.map(|alone| self.paced(alone, begun));
        let of_server = course.measure("sent to received");
        let (due, received) = match ended {
            Ok(_) => {
                let (due, received) = to_received(&client, &of_server.name)?;
                let appends = client.text("/metrics", &[]).ok();
                let appends = appends.map(|text| Metrics::parse(&text).since(&Metrics::default()));
                let memory_bytes_max = of_server.memory_bytes_max;
                (due, Measure { memory_bytes_max, appends, ..received })
            }
            // Who was on the way for how long is known to the server alone.
            Err(_) => (HashMap::new(), of_server),
        };
        let baseline = alone.as_ref().ok().cloned();
        let step = |of: &str, measured, baseline| Step::new(format!("{name}, {of}"), measured, baseline);
        self.report.steps.push(step("to received", self.paced(received, begun), baseline.clone()));
        let count = ended.map_err(|failure| told("sent to durable", failure))?;
        if self.flags.executors > 0 {
            self.follow(&server, "finished", count, &finished).1?;
            let finished = self.paced(to_finished(&client, &due)?, begun);
            self.report.steps.push(step("to finished", finished, baseline));
        }
        alone?;
        self.goes_on &= goes_on;
        Ok(())
    }

    /// Sends messages at a rate, and looks at times how far the server is. How many were sent.
    fn send(&mut self, rate: f64, client: &Client, course: &mut Course) -> Result<u64, Failure> {
        let (mut schedule, mut messages) = (Schedule::new(rate, 0, 1, None), Messages::new(self.flags));
        let (begun, begun_us) = (Instant::now(), time::now().0);
        let end = Duration::from_secs(self.flags.seconds);
        let (mut count, mut look) = (0, PACED_LOOK);
        while schedule.next() < end && !self.is_ended() {
            while schedule.next() <= begun.elapsed() && schedule.next() < end {
                // Its time is when it was due: one that the client was late with has waited.
                messages.send(&self.broker, count, begun_us + schedule.next().as_micros() as u64)?;
                schedule.advance();
                count += 1;
            }
            self.broker.poll();
            self.goes_on &= !self.interrupt.wait(PACE);
            self.progress.part(begun.elapsed().as_secs().min(end.as_secs()), end.as_secs());
            if begun.elapsed() >= look {
                course.reach(durable(client)?);
                look = begun.elapsed() + PACED_LOOK;
            }
        }
        self.broker.flush()?;
        Ok(count)
    }

    /// A measure of what was sent at a rate: it took as long as sending did.
    fn paced(&self, measure: Measure, begun: Instant) -> Measure {
        let seconds = begun.elapsed().as_secs_f64().min(self.flags.seconds as f64);
        Measure { seconds, per_second: measure.events as f64 / seconds, ..measure }
    }

    fn start(&self) -> Result<Started, Failure> {
        let flags = [
            flag("--executors", Some(self.flags.executors)),
            flag("--shards", self.flags.shards),
            flag("--durability", Some(choice(&self.flags.durability))),
        ];
        let project = project_file(self.flags, &self.broker.topic);
        Started::start(self.workspace, &project, &flags.concat(), &[("KAFKA_TRIGGERS_ENABLED", "yes")])
    }

    /// Looks how far the server is until it has so many; gives what was measured until then, or until it got no further.
    fn follow(
        &mut self,
        server: &Started,
        name: &str,
        count: u64,
        reached: &dyn Fn(&Client) -> Result<u64, Failure>,
    ) -> (Measure, Result<(), Failure>) {
        let mut course = Course::new(server.process());
        let ended = self.look(&server.api, &mut course, count, reached);
        (course.measure(name), ended.map_err(|failure| told(name, failure)))
    }

    fn look(
        &mut self,
        api: &str,
        course: &mut Course,
        count: u64,
        reached: &dyn Fn(&Client) -> Result<u64, Failure>,
    ) -> Result<(), Failure> {
        let client = Client::new(api, false)?;
        let (mut last, mut moved) = (0, Instant::now());
        while last < count && !self.is_ended() {
            let now = reached(&client)?;
            if now > last {
                (last, moved) = (now, Instant::now());
                self.progress.part(now, count);
            }
            course.reach(now);
            if moved.elapsed() > STALL {
                let sentence = format!("{last} of {count}, and nothing more for half a minute");
                return Err(Failure::Failed(sentence));
            }
            self.goes_on &= !self.interrupt.wait(LOOK);
        }
        Ok(())
    }

    fn is_ended(&mut self) -> bool {
        self.goes_on &= !self.interrupt.wait(Duration::ZERO);
        !self.goes_on
    }
}

/// What ended a part of the bench, with its name.
fn told(name: &str, failure: Failure) -> Failure {
    match failure {
        Failure::Unreachable(_) => Failure::Failed(format!("{name}: the server is gone")),
        Failure::Failed(sentence) => Failure::Failed(format!("{name}: {sentence}")),
        other => other,
    }
}

/// How many messages are durable: where the server has read to, over all partitions.
fn durable(client: &Client) -> Result<u64, Failure> {
    let trigger = client.item(&format!("/api/triggers/{TRIGGER}"), &[])?;
    if trigger.attributes.get("state").is_some_and(|state| state == "failing") {
        // It may well go on after a while: what is measured then would be the trouble.
        let error = trigger.attributes.get("last_error").and_then(Value::as_str).unwrap_or_default();
        return Err(Failure::Failed(format!("the trigger is failing: {error}")));
    }
    let partitions =
        trigger.attributes.get("partitions").and_then(Value::as_array).cloned().unwrap_or_default();
    Ok(partitions.iter().filter_map(|partition| partition["position"].as_u64()).sum())
}

/// How many runs have ended, however they did.
fn finished(client: &Client) -> Result<u64, Failure> {
    let status = client.read("/api/status", &[])?;
    let runs = status["data"]["runs"].as_object().cloned().unwrap_or_default();
    let is_open = |state: &str| ["available", "claimed", "started"].contains(&state);
    Ok(runs.iter().filter(|(state, _)| !is_open(state)).filter_map(|(_, count)| count.as_u64()).sum())
}

fn is_reading(client: &Client) -> Result<bool, Failure> {
    let trigger = client.item(&format!("/api/triggers/{TRIGGER}"), &[])?;
    Ok(trigger.attributes.get("state").is_some_and(|state| state == "running"))
}

fn ordering(flags: &Kafka) -> Ordering {
    flags.ordering.unwrap_or(if flags.keys.is_some() { Ordering::Key } else { Ordering::None })
}

/// The project of the server that is measured.
fn project(flags: &Kafka, topic: &str) -> Result<Arc<Project>, Failure> {
    let origin = Origin { file: "bench".into(), folder: "/".into() };
    let reading = read(&project_file(flags, topic), &origin, &types(), &EnvAndFiles, &[], &mut || [1; 16]);
    let refused = |mistakes: Vec<Mistake>| mistakes.first().map(Mistake::to_string).unwrap_or_default();
    reading.map(|reading| Arc::new(reading.project)).map_err(|mistakes| Failure::Usage(refused(mistakes)))
}

fn project_file(flags: &Kafka, topic: &str) -> String {
    let ordering = choice(&ordering(flags));
    let hosts: Vec<String> = flags.hosts.split(',').map(|host| format!("'{host}'")).collect();
    let hosts = hosts.join(", ");
    format!(
        "name: bench
workflows:
  orders:
    jobs: {{load: {{name: Load, adaptor: '@openfn/language-common@latest', body: \"fn(state => state)\"}}}}
    triggers:
      kafka:
        id: {TRIGGER}
        type: kafka
        enabled: true
        ordering: {ordering}
        in_flight_max: {IN_FLIGHT_MAX}
        kafka_configuration:
          hosts: [{hosts}]
          topics: [{topic}]
          group_id: {topic}
          initial_offset_reset_policy: earliest
          connect_timeout: 10
    edges: {{e: {{source_trigger: kafka, target_job: load, condition_type: always, enabled: true}}}}
"
    )
}
