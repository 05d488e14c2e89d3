//! Measures the storage: append, turn, project, rebuild and recovery, against plain files on the same disk.
//!
//! Invariant: the plain file takes the same bytes in the same pieces, and syncs as often.

mod contest;
mod world;

use std::{
    env, fs,
    io::{BufRead, BufReader},
    path::Path,
    process::{Command, Stdio},
    sync::atomic::Ordering,
    thread,
    time::Duration,
};

use keyway_engine::projection::Views;
use keyway_ingest::time;
use keyway_storage::{
    block::Block,
    directory::{DataDir, Durability},
    event::EventKind,
    key::Tag,
    log::Log,
    place::Offset,
    rows::Rows,
};
use serde_json::json;

use super::{
    begin, hand_over,
    plain::Plain,
    progress::Progress,
    report::{Measure, Report, Step},
    workspace::Workspace,
};
use crate::{
    args::{What, bench::Storage},
    failure::Failure,
    offline::{self, rebuild},
    print::Printer,
    signals::Interrupt,
};
use contest::{Side, contest, once};
use world::{SHARD, World, refuse};

/// Inputs of one turn, and events of one commit, where the flags do not say.
const FULL_TURN: u64 = 4_096;
/// What the process that was filled says when it is.
const FILLED: &str = "filled";

/// What is needed for each part.
struct Bench<'a> {
    flags: &'a Storage,
    folder: &'a Path,
    world: World,
    interrupt: Interrupt,
    progress: Progress,
    report: Report,
    goes_on: bool,
}

/// Measures, and reports.
pub fn storage(flags: &Storage, out: &mut Printer) -> Result<(), Failure> {
    let workspace = Workspace::new(&flags.work_dir)?;
    let settings = json!({
        "events": flags.events,
        "batch": flags.batch,
        "body_bytes": flags.body_bytes,
        "seconds": flags.seconds,
        "work_dir": flags.work_dir,
    });
    let report = begin("storage", workspace.path(), settings)?;
    let mut bench = Bench {
        flags,
        folder: workspace.path(),
        world: World::new(flags.body_bytes as usize),
        interrupt: Interrupt::new()?,
        progress: Progress::new(),
        report,
        goes_on: true,
    };
    let ended = bench.parts();
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

/// Fills a data dir, says so, and waits to be killed (-9): recovery begins with what that leaves.
pub fn fill(folder: &Path, events: u64, body_bytes: usize, out: &mut Printer) -> Result<(), Failure> {
    let (mut shard, left) = World::new(body_bytes).flooded(folder)?;
    left.store(events, Ordering::Relaxed);
    while left.load(Ordering::Relaxed) > 0 {
        shard.turn(time::now()).map_err(refuse)?;
    }
    out.line(FILLED)?;
    out.flush()?;
    loop {
        thread::park();
    }
}

impl Bench<'_> {
    fn parts(&mut self) -> Result<(), Failure> {
        for batch in self.flags.batch.clone() {
            self.append(u64::from(batch))?;
        }
        self.turn()?;
        self.project()?;
        self.recover_and_rebuild()
    }

    /// Goes on for as many seconds as were asked for, and shows how far it is.
    fn contest(&mut self, name: &str, one: Side<'_>, other: Side<'_>) -> Result<(), Failure> {
        if !self.goes_on {
            return Ok(());
        }
        self.progress.begin(name);
        let (seconds, interrupt) = (self.flags.seconds, &self.interrupt);
        let (progress, goes_on) = (&mut self.progress, &mut self.goes_on);
        let (measured, baseline) = contest(one, other, &mut |second| {
            *goes_on &= !interrupt.wait(Duration::ZERO);
            progress.part(second, seconds);
            *goes_on && second < seconds
        })?;
        if measured.events > 0 {
            self.report.steps.push(Step::new(name.to_owned(), measured, Some(baseline)));
        }
        Ok(())
    }

    /// The log alone: encode, write, sync.
    fn append(&mut self, batch: u64) -> Result<(), Failure> {
        let folder = self.folder.join("append");
        let data = DataDir::open(&folder, 1).map_err(refuse)?;
        let mut store = data.open_shard(SHARD, Durability::Fsync, None).map_err(refuse)?;
        let (kinds, mut block) = (self.world.kinds()?, Block::new(SHARD));
        let mut plain = self.plain(batch)?;
        let mut append = || {
            fill_block(&mut block, store.log.live().end, &kinds, batch);
            store.log.append(&mut block).map(drop).map_err(refuse)
        };
        let mut write = || plain.write();
        let name = if batch == 1 { "append 1 event".to_owned() } else { format!("append {batch} events") };
        self.contest(
            &name,
            Side::new("log, synced", batch, &mut append),
            Side::new("plain file, packed, fdatasync", batch, &mut write),
        )?;
        drop(store);
        remove(&folder)
    }

    /// Whole turns: decide, append, sync, project.
    fn turn(&mut self) -> Result<(), Failure> {
        let folder = self.folder.join("turn");
        let (mut shard, left) = self.world.flooded(&folder)?;
        let mut plain = self.plain(FULL_TURN)?;
        let mut turn = || {
            left.store(FULL_TURN, Ordering::Relaxed);
            while left.load(Ordering::Relaxed) > 0 {
                shard.turn(time::now()).map_err(refuse)?;
            }
            Ok(())
        };
        let mut write = || plain.write();
        self.contest(
            &format!("turn of {FULL_TURN} inputs"),
            Side::new("decide, append, project", FULL_TURN, &mut turn),
            Side::new("plain file, packed, fdatasync", FULL_TURN, &mut write),
        )?;
        drop(shard);
        remove(&folder)
    }

    /// The projections alone, into memory: whether they could ever be what a shard waits for.
    fn project(&mut self) -> Result<(), Failure> {
        let events = self.world.events(FULL_TURN)?;
        let world = World::new(self.flags.body_bytes as usize);
        let mut plain = self.plain(FULL_TURN)?;
        let mut project = || {
            let mut state = world.state(Rows::memory(Tag::Watermark))?;
            let mut views = Views::open(Rows::memory(Tag::ViewsWatermark));
            for event in &events {
                state.apply(event).map_err(refuse)?;
                views.apply(event).map_err(refuse)?;
            }
            let end = Offset(events.len() as u64);
            state.commit(end).map_err(refuse)?;
            views.commit(end).map_err(refuse)
        };
        let mut write = || plain.write();
        self.contest(
            &format!("project {FULL_TURN} events"),
            Side::new("state and views, in memory", FULL_TURN, &mut project),
            Side::new("plain file, packed, fdatasync", FULL_TURN, &mut write),
        )
    }

    /// A shard after a kill -9: opened again, and its rows derived anew from its log.
    fn recover_and_rebuild(&mut self) -> Result<(), Failure> {
        if !self.goes_on {
            return Ok(());
        }
        let (folder, events) = (self.folder.join("killed"), self.flags.events);
        self.progress.begin(&format!("filling a shard with {events} events"));
        self.fill_and_kill(&folder)?;
        self.progress.begin("recovery");
        let recovered = once("open after kill -9", || {
            self.world.open(&folder)?;
            Ok(events)
        })?;
        let read = once("plain read of all its files", || {
            read_all(&folder)?;
            Ok(events)
        })?;
        let step = |name: String, measured: Measure| Step::new(name, measured, Some(read.clone()));
        self.report.steps.push(step(format!("recovery of {events} events"), recovered));
        if self.interrupt.wait(Duration::ZERO) {
            self.goes_on = false;
            return Ok(());
        }
        self.progress.begin("rebuild");
        let rebuilt = self.rebuild(&folder)?;
        self.report.steps.push(step(format!("rebuild of {events} events"), rebuilt));
        Ok(())
    }

    fn fill_and_kill(&self, folder: &Path) -> Result<(), Failure> {
        let failed = |error: std::io::Error| Failure::Failed(format!("the filling process: {error}"));
        let flags = [("--events", self.flags.events), ("--body-bytes", u64::from(self.flags.body_bytes))];
        let mut command = Command::new(env::current_exe().map_err(failed)?);
        command.args(["bench", "storage", "--fill"]).arg(folder);
        for (name, value) in flags {
            command.arg(name).arg(value.to_string());
        }
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().map_err(failed)?;
        let said = child.stdout.take().and_then(|out| BufReader::new(out).lines().next());
        child.kill().map_err(failed)?;
        let status = child.wait().map_err(failed)?;
        match said {
            Some(Ok(line)) if line == FILLED => Ok(()),
            _ => Err(Failure::Failed(format!("the filling process ended before it was done: {status}"))),
        }
    }

    /// What `keyway rebuild` does: reads, checks and decodes the log, and folds it into rows on disk.
    fn rebuild(&self, folder: &Path) -> Result<Measure, Failure> {
        let data = offline::open(Some(folder))?;
        let store = offline::open_shard(&data, SHARD)?;
        let (events, interrupt) = (rebuild::events(&store), &self.interrupt);
        once("log into state and views", || {
            rebuild::derive(store, What::All, &mut |_| !interrupt.wait(Duration::ZERO))?;
            Ok(events)
        })
    }

    fn plain(&self, events: u64) -> Result<Plain, Failure> {
        let (kinds, mut block) = (self.world.kinds()?, Block::new(SHARD));
        fill_block(&mut block, Offset(0), &kinds, events);
        Plain::new(self.folder, block.pack())
    }
}

/// Fills a block with so many events, of these kinds in turns.
fn fill_block(block: &mut Block, first: Offset, kinds: &[EventKind], events: u64) {
    block.begin(first, time::now());
    for kind in kinds.iter().cycle().take(events as usize) {
        block.push(kind);
    }
}

/// Reads every file below a folder.
fn read_all(folder: &Path) -> Result<u64, Failure> {
    let mut bytes = 0;
    for entry in fs::read_dir(folder).map_err(refuse)? {
        let entry = entry.map_err(refuse)?;
        bytes += match entry.file_type().map_err(refuse)?.is_dir() {
            true => read_all(&entry.path())?,
            false => fs::read(entry.path()).map_err(refuse)?.len() as u64,
        };
    }
    Ok(bytes)
}

fn remove(folder: &Path) -> Result<(), Failure> {
    fs::remove_dir_all(folder).map_err(refuse)
}
