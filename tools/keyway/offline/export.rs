//! Export: the log of a data dir, or of a running server, as lines of JSON.
//!
//! Invariant: a file with a last line holds every event that was durable when the export began, in the order of each
//! shard; one that was cut off can be gone on with. Nothing stops the server meanwhile.

mod file;
mod origin;

use std::path::Path;

use keyway_ingest::time;
use keyway_storage::{
    line::{Header, Trailer},
    place::{Offset, ShardId, Span},
};
use serde_json::{json, value::to_raw_value};

use crate::{
    args::ExportEvents,
    client::Client,
    failure::Failure,
    offline::{export::file::Sink, progress::Progress},
};

use origin::{Disk, Origin, Server};

/// What is wanted of the events, as the API wants it said.
pub type Query = Vec<(&'static str, String)>;

/// Exports from the data dir that was named, else from the server.
pub fn export(
    flags: &ExportEvents,
    data_dir: Option<&Path>,
    client: impl FnOnce() -> Result<Client, Failure>,
) -> Result<(), Failure> {
    let query = flags.query();
    match data_dir {
        Some(path) => run(flags, &query, Disk::open(path, &query)?),
        None => run(flags, &query, Server::new(client()?)),
    }
}

fn run(flags: &ExportEvents, query: &Query, mut origin: impl Origin) -> Result<(), Failure> {
    let (mut header, mut ends) = origin.begin()?;
    header.at = time::now();
    if let Some((shard, first)) = origin.cut().filter(|_| query.is_empty()) {
        return Err(Failure::Failed(format!(
            "the history of shard {shard} was cut before offset {}: the events from there on are no whole data dir. \
             Stop the server and copy the data dir; with a filter, what is there is exported to be read",
            first.0
        )));
    }
    if !query.is_empty() {
        let filter = query.iter().map(|(name, value)| json!([name, value])).collect::<Vec<_>>();
        header.filter = Some(to_raw_value(&filter).expect("text is always JSON"));
    }
    let mut sink = Sink::open(flags, &header)?;
    let mut nexts = sink.nexts().to_vec();
    nexts.resize(ends.len(), Offset(0));
    let count = |offsets: &[Offset]| offsets.iter().map(|offset| offset.0).sum::<u64>();
    let progress = Progress::new(count(&ends), "events")?;
    // A page may name events of a shard that was done already, a moment after the export began: then that one goes on.
    while let Some(shard) = (0..ends.len()).find(|shard| nexts[*shard] < ends[*shard]) {
        let span = Span { first: nexts[shard], end: ends[shard] };
        let page = origin.page(ShardId(shard as u8), span, query)?;
        page.lines.iter().try_for_each(|line| sink.event(line))?;
        if page.next <= nexts[shard] {
            return Err(Failure::Failed(format!("shard {shard} gives no events behind {}", nexts[shard].0)));
        }
        nexts[shard] = page.next;
        for place in page.reach.iter().filter(|_| query.is_empty()) {
            let end = &mut ends[usize::from(place.shard.0)];
            *end = place.offset.advance(1).max(*end);
        }
        if !progress.reach(count(&nexts)) {
            sink.flush()?;
            return Err(Failure::Failed("stopped before the end; --continue goes on".to_owned()));
        }
    }
    progress.finish();
    let events = sink.events();
    sink.close(&Trailer { events, tails: ends })
}

/// What the header says of itself, for those who compare two of them.
fn is_same(one: &Header, other: &Header) -> bool {
    let filter = |header: &Header| header.filter.as_ref().map(|filter| filter.get().to_owned());
    one.data_dir == other.data_dir && one.shards == other.shards && filter(one) == filter(other)
}
