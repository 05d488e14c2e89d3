//! Reshard: another number of shards for a data dir.
//!
//! Invariant: no event moves, so that every id stays what it was. What the new shards need is durable before the file that
//! says who owns what takes the place of the old one: whatever interrupts it, the data dir is as before, or done.

use std::path::Path;

use keyway_engine::reshard::{Holding, bound, open_replay};
use keyway_ingest::time;
use keyway_storage::{
    block::Block,
    directory::{DataDir, Store},
    error::ReadError,
    event::{EventKind, TriggerId, TriggerSwitched},
    key::{Key, Tag},
    log::{EmbeddedLog, Log},
    place::{Offset, ShardId, Timestamp},
    routes::Routes,
    table::{ProjectRow, Table},
};
use serde_json::json;
use uuid::Uuid;

use crate::{
    args::Reshard,
    failure::Failure,
    offline::{self, progress::Progress, rebuild},
    print::Printer,
};

/// Gives a data dir another number of shards.
pub fn reshard(flags: &Reshard, data_dir: Option<&Path>, out: &mut Printer) -> Result<(), Failure> {
    let mut data = offline::open(data_dir)?;
    let progress = Progress::new(0, "events")?;
    let change = change(&mut data, flags.shards, &progress)?;
    progress.finish();
    match out.is_json() {
        true => out.document(&change.to_json())?,
        false => out.line(&change.to_text())?,
    }
    out.flush()
}

/// What was changed.
pub struct Change {
    routes: Routes,
    before: u16,
    moved: usize,
    waiting: usize,
}

impl Change {
    /// For people.
    pub fn to_text(&self) -> String {
        let (taking, before) = (self.routes.taking(), self.before);
        let mut text = format!("{taking} shards take inputs, before it were {before}");
        if self.routes.logs() > taking {
            text += &format!("; shards {taking} to {} answer for what they hold", self.routes.logs() - 1);
        }
        if self.waiting > 0 {
            let (waiting, all) = (self.waiting, self.routes.len());
            text += &format!(
                "; {waiting} of {all} slots stay where something of theirs is open: the next reshard moves them"
            );
        }
        text
    }

    /// For programs.
    pub fn to_json(&self) -> serde_json::Value {
        json!({
            "shards": self.routes.taking(), "shards_before": self.before, "logs": self.routes.logs(),
            "slots": self.routes.len(), "slots_moved": self.moved, "slots_waiting": self.waiting,
        })
    }
}

/// Changes who owns what, so that so many shards take new inputs.
pub fn change(data: &mut DataDir, shards: u16, progress: &Progress) -> Result<Change, Failure> {
    let (mut holdings, mut kept, mut before) = (Vec::new(), Vec::new(), 0);
    let stores = data.shards().map(|shard| offline::open_shard(data, shard));
    let stores = stores.collect::<Result<Vec<_>, _>>()?;
    progress.begin(stores.iter().map(rebuild::events).sum(), "events");
    for Store { log, state, views } in stores {
        let refold =
            rebuild::fold(&log, Some(state), Some(views), &mut |done| progress.reach(before + done))?;
        before += log.live().len() as u64;
        let state = refold.state().expect("the state was folded");
        holdings.push(Holding { log: log.reader().remembering(), state });
        kept.push((log, refold));
    }
    if let Some(id) = open_replay(&holdings).map_err(damaged)? {
        let id = Uuid::from_bytes(id);
        let message =
            format!("replay {id} has not ended: let it end, or cancel it, before the shards change");
        return Err(Failure::Failed(message));
    }
    let wide = data.routes().widened();
    let bound = bound(&holdings, &wide).map_err(damaged)?;
    let routes = wide.spread(shards, &bound);
    let change = Change {
        before: wide.taking(),
        moved: (0..wide.len()).filter(|slot| wide.owner_of(*slot) != routes.owner_of(*slot)).count(),
        waiting: bound.iter().flatten().filter(|shard| u16::from(shard.0) >= shards).count(),
        routes,
    };
    let mut tails: Vec<Offset> = kept.iter().map(|(log, _)| log.live().end).collect();
    let inherited = inherited(&holdings[0]).map_err(damaged)?;
    for shard in data.manifest().shards..change.routes.logs() {
        let mut log = offline::open_shard(data, ShardId(shard as u8))?.log;
        endow(&mut log, ShardId(shard as u8), &inherited)?;
        tails.push(log.live().end);
    }
    let path = data.path().display().to_string();
    let changed = data.set_routes(&change.routes).and_then(|()| data.note_tails(&tails));
    changed.map_err(|error| Failure::Failed(format!("{path}: {error}")))?;
    Ok(change)
}

/// What a new shard knows from the beginning: the project in force, and what was said of its triggers by hand.
fn inherited(first: &Holding) -> Result<Vec<EventKind>, ReadError> {
    let Some(row) = first.state.get(&Key::new(Tag::Project))? else { return Ok(Vec::new()) };
    let applied = first.log.event(ProjectRow::from_value(&row)?.offset)?;
    let mut events: Vec<EventKind> = applied.into_iter().map(|event| event.kind).collect();
    for row in first.state.scan(Key::new(Tag::Switch), Key::new(Tag::Switch).prefix_end()) {
        let (key, value) = row?;
        let trigger = key.get(1..17).and_then(|id| id.try_into().ok()).map(TriggerId);
        let enabled = value.first() == Some(&1);
        events.extend(trigger.map(|trigger| TriggerSwitched { trigger, enabled }.into()));
    }
    Ok(events)
}

/// Writes it to the log of a new shard. One that an interrupted change left gets it once more: the last one counts.
fn endow(log: &mut EmbeddedLog, shard: ShardId, events: &[EventKind]) -> Result<(), Failure> {
    if events.is_empty() {
        return Ok(());
    }
    let end = log.live().end;
    let last = end.0.checked_sub(1).map(|last| log.reader().block(Offset(last))).transpose();
    let last = last.map_err(damaged)?.flatten().map_or(Timestamp(0), |block| block.at());
    let mut block = Block::new(shard);
    block.begin(end, time::now().max(last));
    for event in events {
        block.push(event);
    }
    log.append(&mut block).map(drop).map_err(|error| Failure::Failed(error.to_string()))
}

fn damaged(error: ReadError) -> Failure {
    Failure::Damaged(error.to_string())
}
