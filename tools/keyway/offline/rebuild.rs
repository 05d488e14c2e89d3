//! Rebuild: drops what was derived from the log, and derives it anew.
//!
//! Invariant: the log is only read. Whatever interrupts it, the next start of the server or of this command goes on
//! where it ended, because rows and watermark are committed together.

use std::path::Path;

use keyway_engine::refold::{Ends, Refold, RefoldError, Watcher};
use keyway_storage::{
    directory::Store,
    log::{EmbeddedLog, Log},
    place::Offset,
    rows::Rows,
};
use serde_json::json;

use crate::{
    args::{Rebuild, What},
    failure::Failure,
    offline::{self, progress::Progress},
    print::Printer,
};

/// Derives the rows of a whole data dir anew.
pub fn rebuild(flags: &Rebuild, data_dir: Option<&Path>, out: &mut Printer) -> Result<(), Failure> {
    let data = offline::open(data_dir)?;
    let stores =
        data.shards().map(|shard| offline::open_shard(&data, shard)).collect::<Result<Vec<_>, _>>()?;
    let progress = Progress::new(stores.iter().map(events).sum(), "events")?;
    let (mut before, mut shards) = (0, Vec::new());
    for (shard, store) in data.shards().zip(stores) {
        let count = events(&store);
        let end = derive(store, flags.what, &mut |done| progress.reach(before + done))?;
        before += count;
        shards.push(json!({ "shard": shard.0, "events": count, "watermark": end.0 }));
        if !out.is_json() {
            out.line(&format!("shard {}: {} derived from {count} events", shard.0, flags.what.name()))?;
        }
    }
    progress.finish();
    if out.is_json() {
        out.document(&json!({ "rebuilt": flags.what.name(), "shards": shards }))?;
    }
    out.flush()
}

/// How many events a shard's log holds.
pub fn events(store: &Store) -> u64 {
    let live = store.log.live();
    live.len() as u64
}

/// Derives the rows of one shard anew, and returns how far they reach.
pub fn derive(store: Store, what: What, pass: &mut dyn FnMut(u64) -> bool) -> Result<Offset, Failure> {
    let Store { log, state, views } = store;
    let clear = |mut rows: Rows| {
        rows.clear().map_err(|error| failed(error.into()))?;
        Ok::<_, Failure>(rows)
    };
    let state = (what != What::Views).then(|| clear(state)).transpose()?;
    let views = (what != What::State).then(|| clear(views)).transpose()?;
    fold(&log, state, views, pass)?;
    Ok(log.live().end)
}

/// Folds a shard's log up to its end; `pass` hears how many of its events are folded, and ends the work by false.
pub fn fold(
    log: &EmbeddedLog,
    state: Option<Rows>,
    views: Option<Rows>,
    pass: &mut dyn FnMut(u64) -> bool,
) -> Result<Refold, Failure> {
    let (reader, live) = (log.reader(), log.live());
    let mut refold = Refold::open(&reader, state, views).map_err(|error| failed(error.into()))?;
    let mut passing = Passing { first: live.first, pass };
    refold.run(&reader, Ends::both(live.end), &mut passing).map_err(failed)?;
    Ok(refold)
}

fn failed(error: RefoldError) -> Failure {
    match error {
        RefoldError::Read(error) => Failure::Damaged(error.to_string()),
        other => Failure::Failed(other.to_string()),
    }
}

struct Passing<'a> {
    first: Offset,
    pass: &'a mut dyn FnMut(u64) -> bool,
}

impl Watcher for Passing<'_> {
    fn pass(&mut self, next: Offset) -> bool {
        (self.pass)(next.0.saturating_sub(self.first.0))
    }
}
