//! Runs the engine: opens the data dir, wires shards, executor and doors, and waits.
//!
//! Invariant: the ready line is printed when every door listens and every shard turns; until then the doors say that the
//! server recovers. The process ends with 0 only after it was asked to and has let go of everything in order.

mod certificate;
mod engine;
mod files;
mod memory;
mod project;
mod trace;

use std::{
    path::{Path, PathBuf},
    sync::{Arc, atomic::Ordering, mpsc},
    thread,
    time::{Duration, Instant},
};

use bytes::Bytes;
use hyper::header::HeaderValue;
use keyway_ingest::{
    api::Lobby,
    certificate::Certificate,
    door::watch::Patience,
    edge::{Edge, EdgeSettings, Passage},
    http::ApiHandler,
    runtime::Choice,
};
use keyway_storage::{
    directory::{DataDir, Durability},
    place::Offset,
};
use signal_hook::{
    consts::{SIGHUP, SIGINT, SIGTERM},
    iterator::Signals,
};

use crate::{
    args::serve::{self, Serve},
    failure::Failure,
    offline::refuse,
    validate,
};
use engine::Engine;

/// What can end or change a running server.
enum Wake {
    Signal(i32),
    /// A shard fell: how is known when it is closed.
    Fatal,
}

/// Runs until it is told to stop.
pub fn serve(flags: &Serve, data_dir: Option<&Path>) -> Result<(), Failure> {
    trace::start(flags.log_format);
    memory::keep();
    let open_files = files::raise();
    let (sender, wakes) = mpsc::channel();
    listen_for_signals(sender.clone())?;
    let certificate = certificate::open(flags)?;
    let path = data_dir.map_or_else(|| PathBuf::from("keyway-data"), Path::to_path_buf);
    let data = DataDir::open(&path, flags.shards.unwrap_or_else(cores)).map_err(refuse)?;
    let durability = match flags.durability {
        serve::Durability::Fsync => Durability::Fsync,
        serve::Durability::Os => {
            tracing::warn!("--durability os: an acknowledged input may be lost when this machine goes down");
            Durability::Os
        }
    };
    let bells: Vec<_> = data.shards().map(|_| Arc::default()).collect();
    let passage = Passage::with_routes(&bells, data.routes().clone());
    let connections_max = files::connections_max(flags.connections_max, bells.len(), open_files);
    let settings = edge_settings(flags, certificate.clone(), connections_max);
    let lobby = Arc::<Lobby>::default();
    let edge = Edge::open(settings, &passage, data.ids(), Arc::clone(&lobby) as Arc<dyn ApiHandler>)
        .map_err(|error| Failure::Failed(format!("{}: cannot listen: {error}", flags.listen)))?;
    tracing::info!(public = %edge.address, api = %edge.api_address, "the doors are open: opening the logs");
    let engine = Engine::open(flags, &data, durability, &passage, sender)?;
    let scheme = if certificate.is_some() { "https" } else { "http" };
    let url = format!("{scheme}://{}", edge.address);
    // Set once, here.
    let _ = engine.api.public_url.set(url.clone());
    lobby.open(&engine.api);
    println!("keyway: ready on {url}, api on http://{}", edge.api_address);
    wait(flags, &engine, certificate.as_deref(), &wakes);
    let tails = stop(flags, engine, edge)?;
    // Without syncs nobody knows how much of the logs is on the disk.
    if durability == Durability::Fsync
        && let Err(error) = data.note_tails(&tails)
    {
        tracing::warn!(%error, "where the logs end could not be noted");
    }
    Ok(())
}

fn cores() -> u16 {
    thread::available_parallelism().map_or(1, |cores| cores.get().min(256) as u16)
}

fn edge_settings(
    flags: &Serve,
    certificate: Option<Arc<Certificate>>,
    connections_max: usize,
) -> EdgeSettings {
    let all = flags.cors_origins.iter().any(|origin| origin == "*");
    let origins = flags.cors_origins.iter().filter(|_| !all);
    let runtime = match flags.runtime {
        serve::Runtime::Auto => Choice::Auto,
        serve::Runtime::IoUring => Choice::IoUring,
        serve::Runtime::Epoll => Choice::Epoll,
    };
    let runtime = runtime.resolve();
    tracing::info!(runtime = runtime.name(), "opening the doors");
    EdgeSettings {
        listen: flags.listen,
        api_listen: flags.api_listen,
        runtime,
        cors_origins: origins.filter_map(|origin| HeaderValue::from_str(origin).ok()).collect(),
        body_bytes_max: flags.body_bytes_max as usize,
        body_timeout: Duration::from_millis(flags.body_timeout_ms),
        connections_max,
        patience: Patience {
            head: Duration::from_millis(flags.header_timeout_ms),
            idle: Duration::from_secs(flags.idle_timeout_seconds),
        },
        certificate,
        http2_prior_knowledge: flags.http2_prior_knowledge,
        drain_timeout: Duration::from_secs(flags.drain_seconds),
        hello: flags.hello,
    }
}

fn listen_for_signals(wakes: mpsc::Sender<Wake>) -> Result<(), Failure> {
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP])
        .map_err(|error| Failure::Failed(format!("signals cannot be caught: {error}")))?;
    thread::spawn(move || {
        for signal in signals.forever() {
            if wakes.send(Wake::Signal(signal)).is_err() {
                return;
            }
        }
    });
    Ok(())
}

/// Waits until it is to end; SIGHUP reads the project file and the certificate again.
fn wait(flags: &Serve, engine: &Engine, certificate: Option<&Certificate>, wakes: &mpsc::Receiver<Wake>) {
    loop {
        match wakes.recv() {
            Ok(Wake::Signal(SIGHUP)) => {
                if let Some(certificate) = certificate {
                    certificate::reload(flags, certificate);
                }
                reload(flags, engine);
            }
            Ok(Wake::Signal(_) | Wake::Fatal) | Err(_) => return,
        }
    }
}

fn reload(flags: &Serve, engine: &Engine) {
    let Some(file) = &flags.project else {
        tracing::warn!("SIGHUP: there is no project file to read again; use `keyway apply FILE`");
        return;
    };
    match validate::load(file) {
        Err(failure) => tracing::error!(?failure, "SIGHUP: the project file cannot be read; nothing changed"),
        Ok(bytes) => match engine.api.apply(Bytes::from(bytes)) {
            Ok((_, warnings)) => {
                warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
                tracing::info!(file = %file.display(), "SIGHUP: the project file is in force");
            }
            Err(error) => tracing::error!(%error, "SIGHUP: the project file was refused; nothing changed"),
        },
    }
}

/// Lets go in the order in which work flows: doors, executor, shards. The API says how far it is until the shards end.
/// Returns where the logs end.
fn stop(flags: &Serve, mut engine: Engine, edge: Edge) -> Result<Vec<Offset>, Failure> {
    let deadline = Instant::now() + Duration::from_secs(flags.drain_seconds);
    engine.api.draining.store(true, Ordering::Release);
    tracing::info!("stopping: finishing what is in flight");
    edge.drain();
    engine.finish(deadline);
    edge.close();
    engine.close()
}
