//! Everything behind the doors: shards on their threads, the executor's pool, the API.

use std::{
    sync::{Arc, mpsc},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use bytes::Bytes;
use crossbeam_channel::{Sender, bounded};
use keyway_engine::{
    admin::{AdminPort, admin},
    catalog::Catalog,
    command::{Apply, Command},
    executor::{Executor, Pool, PoolSettings},
    mailbox::Bell,
    permit::PermitPool,
    project::Mistake,
    replay::{ReplayPort, replay},
    shard::{Fatal, Shard, ShardReader, ShardSetup, last_time},
    source::Source,
    stats::{Health, Stats},
};
use keyway_ingest::{
    api::{Access, Api, ProjectReader, ReplaySite, Replays},
    edge::Passage,
    notice::{NoticeCounts, Notices, Pauses},
    time,
    trigger::{Site, Sources, TRIGGERS, warn_of_changes},
};
use keyway_storage::{
    directory::{DataDir, Durability},
    error::ReadError,
    event::{EventKind, MadeId, ProjectApplied},
    log::Log,
    place::Offset,
    routes::Routes,
};

use super::{Wake, cores, project::Files};
use crate::{args::serve::Serve, failure::Failure, offline::refuse, validate};

/// The running engine.
pub struct Engine {
    /// Answers people.
    pub api: Arc<Api>,
    pool: Arc<Pool>,
    bells: Vec<Arc<Bell>>,
    shards: Vec<JoinHandle<Result<(), Fatal>>>,
    executors: Vec<JoinHandle<()>>,
    stop_notices: Option<Sender<()>>,
}

impl Engine {
    /// Opens all shards, applies the project file, and starts all threads: the shards turn on return. Doors that lead
    /// through the passage may be open already.
    pub fn open(
        flags: &Serve,
        data: &DataDir,
        durability: Durability,
        passage: &Passage,
        wakes: mpsc::Sender<Wake>,
    ) -> Result<Self, Failure> {
        let files = Files::new(flags.project.as_ref());
        let catalog = Arc::new(Catalog::new(Box::new(files.clone())));
        let permits = permits_of(data);
        let bells = passage.bells.clone();
        let mut shards = open_shards(data, durability, &catalog, &permits, &bells)?;
        apply_file(flags, &files, data.routes(), &mut shards)?;
        if flags.no_views {
            tracing::warn!(
                "lists and counts stay as they are until the next start: --no-views is for measuring"
            );
            shards.iter_mut().for_each(Shard::leave_views);
        }
        let threads = flags.executors.unwrap_or_else(cores);
        let pool = Pool::new(PoolSettings { threads: usize::from(threads), catalog: Arc::clone(&catalog) });
        let readers: Vec<ShardReader> = shards.iter().map(Shard::reader).collect();
        let variable = &|name: &str| std::env::var(name).ok();
        let site = Site { bells: &bells, passage, readers: &readers, permits: &permits, variable };
        let sources: Vec<_> = TRIGGERS.iter().map(|adapter| adapter.open(&site)).collect();
        let (ports, ways) = connect(&mut shards, &bells, &sources, &pool);
        let failed = |error: std::io::Error| Failure::Failed(format!("a thread cannot be started: {error}"));
        let executors = pool.start(&readers).map_err(failed)?;
        let shards = shards.into_iter().map(|shard| start(shard, wakes.clone())).collect::<Result<_, _>>();
        let shards = shards.map_err(failed)?;
        let notices = Arc::<NoticeCounts>::default();
        let (stop_notices, stopped) = bounded(0);
        let told = Arc::clone(&notices);
        let pauses = Pauses {
            backoff: Duration::from_millis(flags.notice_backoff_ms),
            timeout: Duration::from_millis(flags.notice_timeout_ms),
        };
        Notices::new(readers.clone(), ports.clone(), Arc::clone(&catalog), data.ids(), told, pauses)
            .start(stopped)
            .map_err(failed)?;
        let api = Arc::new(Api {
            replays: take_up(&readers, &ports, ways, data.routes(), &catalog)?,
            readers,
            ports,
            manifest: *data.manifest(),
            routes: data.routes().clone(),
            ids: data.ids(),
            catalog,
            project_reader: Box::new(files),
            access: access(),
            public_url: Default::default(),
            has_project_file: flags.project.is_some(),
            started: Instant::now(),
            sources,
            draining: Default::default(),
            gauges: passage.gauges(),
            under_way: Default::default(),
            notices,
        });
        go_on(&api)?;
        await_shards(&api.readers);
        Ok(Self { api, pool, bells, shards, executors, stop_notices: Some(stop_notices) })
    }

    /// Lets runs end until the deadline, and takes nothing up any more.
    pub fn finish(&mut self, deadline: Instant) {
        // What is not delivered yet is taken up at the next start.
        self.stop_notices = None;
        self.api.replays.close();
        self.api.sources.iter().for_each(|sources| sources.close());
        self.pool.stop();
        for executor in self.executors.drain(..) {
            while !executor.is_finished() && Instant::now() < deadline {
                thread::park_timeout(Duration::from_millis(5));
            }
            // A run that is still going on is offered again at the next start.
            if executor.is_finished() {
                drop(executor.join());
            }
        }
    }

    /// Ends the shards. Returns where the logs end, if every shard came to its end.
    pub fn close(self) -> Result<Vec<Offset>, Failure> {
        self.bells.iter().for_each(|bell| bell.stop());
        let ended: Vec<_> = self.shards.into_iter().map(JoinHandle::join).collect();
        for ended in ended {
            ended.map_err(|_| Failure::Failed("a shard panicked".to_owned()))?.map_err(fallen)?;
        }
        Ok(self.api.readers.iter().map(|reader| reader.stats.tail()).collect())
    }
}

/// The permits of all shards; where their number was changed, idempotency keys may be on any of them.
fn permits_of(data: &DataDir) -> Arc<PermitPool> {
    let permits = Arc::<PermitPool>::default();
    if !data.routes().is_plain() {
        permits.keyring.look_everywhere();
    }
    permits
}

/// Lets the replays go on that went on before.
fn take_up(
    readers: &[ShardReader],
    ports: &[AdminPort],
    ways: Vec<ReplayPort>,
    routes: &Routes,
    catalog: &Arc<Catalog>,
) -> Result<Replays, Failure> {
    let (readers, ports, catalog) = (readers.to_vec(), ports.to_vec(), Arc::clone(catalog));
    let routes = routes.clone();
    let replays = Replays::new(ReplaySite { readers, ports, ways, routes, catalog });
    replays.take_up().map_err(|error| Failure::Failed(format!("replays cannot go on: {error}")))?;
    Ok(replays)
}

fn access() -> Access {
    Access { token: std::env::var("KEYWAY_API_TOKEN").ok().filter(|token| !token.is_empty()) }
}

/// Goes on with what was asked of many at once before.
fn go_on(api: &Api) -> Result<(), Failure> {
    api.take_up_bulks().map_err(|error| Failure::Failed(format!("bulk requests cannot go on: {error}")))
}

/// Gives each shard its sources, the executor last.
fn connect(
    shards: &mut [Shard],
    bells: &[Arc<Bell>],
    triggers: &[Arc<dyn Sources>],
    pool: &Arc<Pool>,
) -> (Vec<AdminPort>, Vec<ReplayPort>) {
    let (mut ports, mut ways) = (Vec::new(), Vec::new());
    for (shard, bell) in shards.iter_mut().zip(bells) {
        let id = shard.current().shard();
        let (port, requests) = admin(bell);
        ports.push(port);
        let (way, replayed) = replay(bell);
        ways.push(way);
        let executor = Executor::new(id, Arc::clone(pool), bell);
        let mut sources: Vec<Box<dyn Source>> = triggers.iter().map(|sources| sources.source(id)).collect();
        sources.push(Box::new(requests));
        // Behind all that is live, so that it sees how much there is of it.
        sources.push(Box::new(replayed));
        sources.push(Box::new(executor));
        shard.connect(sources);
    }
    (ports, ways)
}

/// Waits until every shard turns, or has failed.
fn await_shards(readers: &[ShardReader]) {
    while readers.iter().any(|reader| reader.stats.health() == Health::Recovering) {
        thread::park_timeout(Duration::from_millis(1));
    }
}

/// Why a shard stopped, as a failure with its exit code.
fn fallen(fatal: Fatal) -> Failure {
    match fatal {
        Fatal::Read(ReadError::Damaged(_)) => Failure::Damaged(fatal.to_string()),
        _ => Failure::Failed(fatal.to_string()),
    }
}

fn start(mut shard: Shard, wakes: mpsc::Sender<Wake>) -> std::io::Result<JoinHandle<Result<(), Fatal>>> {
    let name = format!("shard-{}", shard.current().shard().0);
    thread::Builder::new().name(name).spawn(move || {
        let ended = shard.run();
        if let Err(fatal) = &ended {
            tracing::error!(%fatal, "a shard stopped");
            // The receiver is gone only when the process ends anyway.
            let _ = wakes.send(Wake::Fatal);
            shard.refuse_until_stopped();
        }
        ended
    })
}

/// Opens every shard, each with the bell that wakes it.
fn open_shards(
    data: &DataDir,
    durability: Durability,
    catalog: &Arc<Catalog>,
    permits: &Arc<PermitPool>,
    bells: &[Arc<Bell>],
) -> Result<Vec<Shard>, Failure> {
    let mut shards = Vec::new();
    for (id, bell) in data.shards().zip(bells) {
        let store = data.open_shard(id, durability, None).map_err(refuse)?;
        let last = last_time(&store.log.reader(), store.log.live().end);
        let last = last.map_err(|error| fallen(error.into()))?;
        let stats = Arc::<Stats>::default();
        let setup = ShardSetup {
            id,
            log: Box::new(store.log),
            state: store.state,
            views: store.views,
            catalog: Arc::clone(catalog),
            permits: Arc::clone(permits),
            bell: Arc::clone(bell),
            clock: Box::new(time::watched(last, Arc::clone(&stats))),
            stats,
        };
        shards.push(Shard::open(setup).map_err(fallen)?);
    }
    Ok(shards)
}

/// Puts the project file into force where it differs from what the data dir holds: the file wins.
fn apply_file(flags: &Serve, files: &Files, routes: &Routes, shards: &mut [Shard]) -> Result<(), Failure> {
    let held: Vec<Option<ProjectApplied>> = shards.iter().map(applied).collect();
    let Some(path) = &flags.project else {
        if held.iter().all(Option::is_some) {
            return Ok(());
        }
        let message = "the data dir holds no project yet: name a file with --project";
        return Err(Failure::Usage(message.to_owned()));
    };
    let file = Bytes::from(validate::load(path)?);
    // A large file takes a while to be read, and one that goes on was read when the shards were opened.
    if let Some(Some(first)) = held.first()
        && first.file == file
        && held.iter().all(|held| held.as_ref() == Some(first))
        && files.is_read(first)
    {
        return Ok(());
    }
    let made: Vec<MadeId> = held.first().cloned().flatten().map(|applied| applied.made).unwrap_or_default();
    let reading = files.read(&file, &made).map_err(|mistakes| refuse_file(&mistakes))?;
    for warning in &reading.warnings {
        tracing::warn!("{warning}");
    }
    let project = Arc::new(reading.project);
    if let Some(first) = shards.first() {
        for warning in warn_of_changes(first.current().project(), &project) {
            tracing::warn!("{warning}");
        }
    }
    for (shard, held) in shards.iter_mut().zip(held) {
        if held.is_some_and(|held| held.file == file && held.made == reading.made) {
            continue;
        }
        let id = shard.current().shard();
        for source in TRIGGERS.iter().filter_map(|adapter| adapter.leaving(id, routes, &project)) {
            shard.settle(source).map_err(fallen)?;
        }
        let (file, made) = (file.clone(), reading.made.clone());
        let apply = Command::Apply(Apply { file, made, project: Arc::clone(&project) });
        shard.request(apply).map_err(fallen)?;
    }
    Ok(())
}

fn applied(shard: &Shard) -> Option<ProjectApplied> {
    let offset = shard.current().project_at()?;
    match shard.reader().log.event(offset).ok()??.kind {
        EventKind::ProjectApplied(applied) => Some(applied),
        _ => None,
    }
}

fn refuse_file(mistakes: &[Mistake]) -> Failure {
    for mistake in mistakes {
        eprintln!("{mistake}");
    }
    Failure::InvalidProject
}
