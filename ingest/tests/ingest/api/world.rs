//! Two shards in memory whose clock stands still until a test moves it, and the API over them.

use std::{
    net::SocketAddr,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread::JoinHandle,
    time::Instant,
};

use bytes::Bytes;
use hyper::{HeaderMap, Method};
use keyway_engine::{
    admin::{AdminPort, admin},
    catalog::{Catalog, ProjectLoader},
    command::{Answer, Claim, Command, Input, Permits, Receipt, RunReport, Unusable},
    mailbox::Bell,
    permit::PermitPool,
    project::{self, Mistake, Origin, Project, Reading, Reference, SecretSource},
    replay::replay,
    shard::{Shard, ShardSetup},
    source::{Batch, Positions, Source},
    stats::Stats,
};
use keyway_ingest::{
    api::{Access, Api, Gauges, ProjectReader, ReplaySite, Replays},
    edge::Passage,
    http::{ApiHandler, ApiRequest, ApiResponse},
    trigger::{Site, Sources, TRIGGERS, types},
};
use keyway_storage::{
    directory::Manifest,
    event::{
        EventKind, ExitReason, FinalState, JobId, Level, LogLine, LogSource, LogWritten, MadeId, Position,
        ProjectApplied, Reason, RunError, RunFinished, RunStarted, RunState, StepFinished, StepInput,
        StepStarted, TriggerId,
    },
    id::Ids,
    key::Tag,
    log::MemoryLog,
    place::{Offset, Place, RunKey, ShardId, Timestamp},
    routes::Routes,
    rows::Rows,
};
use serde_json::Value;

/// In microseconds.
pub const SECOND: u64 = 1_000_000;
pub const DAY: u64 = 86_400 * SECOND;
pub const WEBHOOK: &str = "0c9f1f9e-60a4-4f0c-8a4a-3f3c9f1d9f01";
pub const OTHER: &str = "0c9f1f9e-60a4-4f0c-8a4a-3f3c9f1d9f02";
pub const CRON: &str = "0c9f1f9e-60a4-4f0c-8a4a-3f3c9f1d9f03";
pub const KAFKA: &str = "0c9f1f9e-60a4-4f0c-8a4a-3f3c9f1d9f04";
/// 2026-05-21T10:00:00Z.
const START: u64 = 1_779_357_600_000_000;

pub const PROJECT: &str = "
id: 3f1b6c1e-6a5e-4c1e-9b57-0f6f0f7f1a11
name: clinic
workflows:
  intake:
    name: Intake
    jobs:
      validate: {name: Validate, adaptor: '@openfn/language-common@latest', body: 'fn(state => state)'}
      send: {name: Send, adaptor: '@openfn/language-common@latest', body: 'fn(state => state)'}
    triggers:
      webhook: {id: 0c9f1f9e-60a4-4f0c-8a4a-3f3c9f1d9f01, type: webhook, enabled: true, custom_path: clinic}
    edges:
      webhook->validate: {source_trigger: webhook, target_job: validate, condition_type: always, enabled: true}
      validate->send: {source_job: validate, target_job: send, condition_type: always, enabled: true}
  other:
    jobs: {only: {name: Only, adaptor: '@openfn/language-common@latest', body: 'fn(state => state)'}}
    triggers:
      hook: {id: 0c9f1f9e-60a4-4f0c-8a4a-3f3c9f1d9f02, type: webhook, enabled: true}
    edges: {hook->only: {source_trigger: hook, target_job: only, condition_type: always, enabled: true}}
  nightly:
    jobs: {pull: {name: Pull, adaptor: '@openfn/language-common@latest', body: 'fn(state => state)'}}
    triggers:
      cron: {id: 0c9f1f9e-60a4-4f0c-8a4a-3f3c9f1d9f03, type: cron, enabled: true, cron_expression: '0 2 * * *',
             cursor_warn_bytes: 10, cursor_bytes_max: 20}
    edges: {cron->pull: {source_trigger: cron, target_job: pull, condition_type: always, enabled: true}}
  orders:
    jobs: {load: {name: Load, adaptor: '@openfn/language-common@latest', body: 'fn(state => state)'}}
    triggers:
      kafka:
        id: 0c9f1f9e-60a4-4f0c-8a4a-3f3c9f1d9f04
        type: kafka
        enabled: true
        kafka_configuration: {hosts: ['localhost:9092'], topics: [orders]}
    edges: {kafka->load: {source_trigger: kafka, target_job: load, condition_type: always, enabled: true}}
";

fn sources(bells: &[Arc<Bell>]) -> Vec<Arc<dyn Sources>> {
    let (passage, permits) = (Passage::new(bells), Arc::default());
    let site = Site { bells, passage: &passage, readers: &[], permits: &permits, variable: &|_| None };
    TRIGGERS.iter().map(|adapter| adapter.open(&site)).collect()
}

/// A world that ends when it is dropped.
pub struct World {
    pub api: Api,
    clock: Arc<AtomicU64>,
    bells: Vec<Arc<Bell>>,
    shards: Vec<JoinHandle<()>>,
}

impl World {
    /// So many shards with the project in force.
    pub fn new(shards: u8) -> Self {
        let world = Self::bare(shards);
        world.apply(PROJECT);
        world
    }

    /// So many shards without a project.
    pub fn bare(shards: u8) -> Self {
        let clock = Arc::new(AtomicU64::new(START));
        let catalog = Arc::new(Catalog::new(Box::new(Files)));
        let permits = Arc::new(PermitPool::default());
        let (mut bells, mut ports, mut readers, mut threads) = (vec![], vec![], vec![], vec![]);
        let mut ways = vec![];
        for id in (0..shards).map(ShardId) {
            let (bell, ticking) = (Arc::<Bell>::default(), Arc::clone(&clock));
            let setup = ShardSetup {
                id,
                log: Box::new(MemoryLog::new(id)),
                state: Rows::memory(Tag::Watermark),
                views: Rows::memory(Tag::ViewsWatermark),
                catalog: Arc::clone(&catalog),
                permits: Arc::clone(&permits),
                bell: Arc::clone(&bell),
                clock: Box::new(move || Timestamp(ticking.load(Ordering::Acquire))),
                stats: Arc::<Stats>::default(),
            };
            let mut shard = Shard::open(setup).unwrap();
            let (port, source) = admin(&bell);
            let (way, replayed) = replay(&bell);
            shard.connect(vec![Box::new(source), Box::new(replayed), Box::new(Nobody)]);
            ways.push(way);
            readers.push(shard.reader());
            ports.push(port);
            bells.push(bell);
            threads.push(std::thread::spawn(move || shard.run().unwrap()));
        }
        let site = ReplaySite {
            readers: readers.clone(),
            ports: ports.clone(),
            ways,
            routes: Routes::plain(shards.into()),
            catalog: Arc::clone(&catalog),
        };
        let api = Api {
            replays: Replays::new(site),
            readers,
            ports,
            manifest: Manifest { id_key: [7; 16], ..Manifest::new(shards.into()) },
            routes: Routes::plain(shards.into()),
            ids: Ids::new([7; 16]),
            catalog,
            project_reader: Box::new(Files),
            access: Access { token: None },
            public_url: Default::default(),
            has_project_file: false,
            started: Instant::now(),
            sources: sources(&bells),
            draining: Default::default(),
            gauges: Gauges::default(),
            under_way: Default::default(),
            notices: Default::default(),
        };
        api.public_url.set("http://127.0.0.1:4000".to_owned()).unwrap();
        Self { api, clock, bells, shards: threads }
    }

    /// Moves the clock to so many microseconds after the start.
    pub fn at(&self, micros: u64) -> &Self {
        self.clock.store(START + micros, Ordering::Release);
        self
    }

    /// Moves the clock on by so many microseconds.
    pub fn pass(&self, micros: u64) {
        self.clock.fetch_add(micros, Ordering::AcqRel);
    }

    fn port(&self, shard: u8) -> &AdminPort {
        &self.api.ports[usize::from(shard)]
    }

    pub fn ask(&self, shard: u8, command: Command) -> Answer {
        self.port(shard).ask(command).unwrap()
    }

    /// Puts a project into force.
    pub fn apply(&self, project: &str) {
        let answer = self.call(Method::PUT, "/api/project", project);
        assert_eq!(answer.status, 200, "{}", answer.body);
    }

    /// Gives a shard a turn, so that it looks at the clock.
    pub fn turn(&self, shard: u8) {
        let permits = Permits { project: 0, workflows: Vec::new() };
        let answer = self.ask(shard, Command::Claim(Claim { worker: 9, demand: 0, permits }));
        assert!(matches!(answer, Answer::Claimed(_)));
    }

    /// A work order on a shard; returns its id.
    pub fn receive(&self, shard: u8, trigger: &str, body: &str) -> String {
        let place = self.receive_at(shard, trigger, body);
        self.api.ids.work_order(place, self.now()).to_string()
    }

    fn receive_at(&self, shard: u8, trigger: &str, body: &str) -> Place {
        let request = Bytes::from_static(b"{\"method\":\"POST\"}");
        match self.ask(shard, Command::Receive(input(trigger, request, Ok(Bytes::from(body.to_owned()))))) {
            Answer::Accepted(place) => place,
            other => panic!("{other:?}"),
        }
    }

    fn now(&self) -> Timestamp {
        Timestamp(self.clock.load(Ordering::Acquire))
    }

    /// A dead letter on a shard; returns its id.
    pub fn dead_letter(&self, shard: u8, raw: Option<&[u8]>, reason: Reason) -> String {
        let unusable = Unusable {
            raw: raw.map(Bytes::copy_from_slice),
            reason,
            detail: "expected value at line 1".into(),
        };
        self.dead_message(shard, &message("orders", 3, 42), unusable)
    }

    /// A message of Kafka whose payload is good, as a dead letter on a shard; returns its id.
    pub fn message(&self, shard: u8, topic: &str, partition: u32, offset: u64) -> String {
        let (raw, reason, detail) = (Some(Bytes::from_static(b"{}")), Reason::NoRunCreated, "".into());
        self.dead_message(shard, &message(topic, partition, offset), Unusable { raw, reason, detail })
    }

    fn dead_message(&self, shard: u8, request: &str, unusable: Unusable) -> String {
        match self.ask(shard, Command::Receive(input(KAFKA, Bytes::from(request.to_owned()), Err(unusable))))
        {
            Answer::DeadLettered(place) => {
                self.api.ids.encode(keyway_storage::id::What::DeadLetter, place, self.now()).to_string()
            }
            other => panic!("{other:?}"),
        }
    }

    /// Claims the oldest waiting run of a shard.
    pub fn claim(&self, shard: u8) -> (RunKey, u8) {
        let permits = Permits { project: u32::MAX, workflows: Vec::new() };
        match self.ask(shard, Command::Claim(Claim { worker: 9, demand: 1, permits })) {
            Answer::Claimed(claims) => (claims[0].run, claims[0].attempt),
            other => panic!("{other:?}"),
        }
    }

    pub fn report(&self, shard: u8, (run, attempt): (RunKey, u8), events: Vec<EventKind>) -> Answer {
        self.ask(shard, Command::Report(RunReport { run, attempt, cursor: None, events }))
    }

    pub fn begin(&self, shard: u8, claimed: (RunKey, u8)) {
        let (run, attempt) = claimed;
        let started = RunStarted { run, attempt, started: self.now(), cursor: None };
        self.report(shard, claimed, vec![started.into()]);
    }

    /// Runs the oldest waiting run of a shard through all jobs: `outputs` are what its steps leave.
    pub fn run(&self, shard: u8, outputs: &[&str]) {
        let claimed = self.claim(shard);
        self.begin(shard, claimed);
        self.end(shard, claimed, outputs, RunState::Success);
    }

    /// Reports steps with log lines, and the end of a run.
    pub fn end(&self, shard: u8, claimed: (RunKey, u8), outputs: &[&str], state: RunState) {
        let ((run, attempt), now) = (claimed, self.now());
        let mut events = Vec::new();
        for (step, output) in outputs.iter().enumerate() {
            let (step, job) = (step as u16, JobId(step as u16));
            let input = if step == 0 { StepInput::Run } else { StepInput::Step(step - 1) };
            let failed = state == RunState::Failed && usize::from(step) + 1 == outputs.len();
            events.push(StepStarted { run, attempt, step, job, input, started: now }.into());
            events.push(log(run, attempt, step, now));
            events.push(
                StepFinished {
                    run,
                    attempt,
                    step,
                    job,
                    exit: if failed { ExitReason::Fail } else { ExitReason::Success },
                    error: failed.then(oops),
                    output: Bytes::from((*output).to_owned()),
                    finished: now,
                }
                .into(),
            );
        }
        let last = outputs.len().checked_sub(1).map(|step| FinalState::Step(step as u16));
        events.push(
            RunFinished {
                run,
                attempt,
                state,
                error: (state == RunState::Failed).then(oops),
                final_state: last.unwrap_or(FinalState::None),
                response: Bytes::new(),
                finished: now,
            }
            .into(),
        );
        self.report(shard, claimed, events);
    }

    pub fn call(&self, method: Method, target: &str, body: &str) -> Told {
        self.send(request(method, target, body))
    }

    pub fn send(&self, request: ApiRequest) -> Told {
        Told::of(self.api.handle(request))
    }

    pub fn read(&self, target: &str) -> Value {
        let told = self.call(Method::GET, target, "");
        assert_eq!(told.status, 200, "{target}: {}", told.body);
        told.body
    }

    /// The ids on every page of a list.
    pub fn pages(&self, target: &str) -> Vec<Vec<String>> {
        let mut pages = Vec::new();
        let mut next = Some(target.to_owned());
        while let Some(target) = next {
            let body = self.read(&target);
            pages.push(ids(&body));
            next = body["links"]["next"].as_str().map(str::to_owned);
            assert!(pages.len() < 100, "the pages do not end");
        }
        pages
    }

    pub fn tail(&self, shard: u8) -> Offset {
        self.api.readers[usize::from(shard)].stats.tail()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.api.replays.close();
        self.bells.iter().for_each(|bell| bell.stop());
        for shard in self.shards.drain(..) {
            drop(shard.join());
        }
    }
}

pub fn ids(list: &Value) -> Vec<String> {
    list["data"].as_array().unwrap().iter().map(|item| item["id"].as_str().unwrap().to_owned()).collect()
}

pub fn request(method: Method, target: &str, body: &str) -> ApiRequest {
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    ApiRequest {
        method,
        path: path.to_owned(),
        query: query.to_owned(),
        headers: HeaderMap::new(),
        body: Bytes::from(body.to_owned()),
        peer: SocketAddr::from(([127, 0, 0, 1], 50_000)),
    }
}

/// What the API said.
pub struct Told {
    pub status: u16,
    pub body: Value,
    pub text: String,
    pub headers: Vec<(String, String)>,
}

impl Told {
    fn of(response: ApiResponse) -> Self {
        let text = String::from_utf8(response.body).unwrap();
        let body = serde_json::from_str(&text).unwrap_or(Value::Null);
        let headers = response.headers.iter().map(|(name, value)| (name.to_string(), value.clone()));
        Self { status: response.status.as_u16(), body, text, headers: headers.collect() }
    }
}

/// What Kafka's messages carry with them.
fn message(topic: &str, partition: u32, offset: u64) -> String {
    format!(
        "{{\"headers\":[],\"key\":\"k1\",\"offset\":{offset},\"partition\":{partition},\"topic\":\"{topic}\",\
         \"ts\":1700000000000}}"
    )
}

fn input(trigger: &str, request: Bytes, body: Result<Bytes, Unusable>) -> Input {
    Input {
        trigger: TriggerId(*uuid::Uuid::try_parse(trigger).unwrap().as_bytes()),
        position: Position::None,
        key: None,
        stream: 0,
        request,
        body,
        follow: None,
        replays: None,
    }
}

fn log(run: RunKey, attempt: u8, step: u16, at: Timestamp) -> EventKind {
    let line = |level, source, message: &str| LogLine {
        step: Some(step),
        level,
        source,
        at,
        message: message.into(),
    };
    let lines = vec![
        line(Level::Info, LogSource::Job, &format!("hello from step {step}")),
        line(Level::Error, LogSource::Runtime, "oh no"),
    ];
    LogWritten { run, attempt, lines }.into()
}

fn oops() -> RunError {
    RunError { kind: "TypeError".into(), message: "x is not a function".into() }
}

/// The executor's place, with nobody in it.
struct Nobody;

impl Source for Nobody {
    fn tune(&mut self, _: &Arc<Project>, _: &dyn Positions) {}
    fn offer(&mut self, _: Timestamp, _: &mut Batch) {}
    fn release(&mut self, receipts: &mut Vec<Receipt>) {
        receipts.clear();
    }
}

pub struct Files;

impl ProjectReader for Files {
    fn read(&self, file: &[u8], made: &[MadeId]) -> Result<Reading, Vec<Mistake>> {
        let origin = Origin::of(Path::new("f.yaml"));
        project::read(project::text(file, &origin)?, &origin, &types(), self, made, &mut || [9; 16])
    }
}

impl ProjectLoader for Files {
    fn load(&self, applied: &ProjectApplied) -> Arc<Project> {
        Arc::new(self.read(&applied.file, &applied.made).unwrap().project)
    }
}

impl SecretSource for Files {
    fn resolve(&self, _: &Reference) -> Result<String, String> {
        Err("is not set".to_owned())
    }
}
