//! Export: the log of a data dir, or of a running server, as lines of JSON.
//!
//! Invariant: a file with a last line holds every event that was durable when the export began, in the order of each
//! shard; one that was cut off can be gone on with. Nothing stops the server meanwhile.

mod file;
mod origin;

use std::path::Path;

use keyway_ingest::time;
use keyway_storage::{
    line::{BaseOf, Header},
    place::{Offset, ShardId, Span},
};
use serde_json::{json, value::to_raw_value};

use crate::{
    args::ExportEvents,
    client::Client,
    failure::Failure,
    offline::{export::file::Sink, progress::Progress},
};

use origin::{Disk, Origin, Server, Start};

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
    let Start { mut header, mut ends, cuts } = origin.begin()?;
    header.at = time::now();
    match query.is_empty() {
        true => header = header.with_cuts(cuts.clone()),
        false => {
            let filter = query.iter().map(|(name, value)| json!([name, value])).collect::<Vec<_>>();
            header.filter = Some(to_raw_value(&filter).expect("text is always JSON"));
        }
    }
    let mut sink = Sink::open(flags, &header)?;
    if sink.is_new() {
        bases(&mut origin, &header, &mut sink)?;
    }
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
    if query.is_empty() && origin.begin()?.cuts != cuts {
        return Err(cut_meanwhile());
    }
    sink.close(ends)
}

/// Writes what stands for the events that were cut.
fn bases(origin: &mut impl Origin, header: &Header, sink: &mut Sink) -> Result<(), Failure> {
    for (shard, cut) in header.cuts.iter().enumerate().filter(|(_, cut)| cut.dense.0 > 0) {
        for of in BaseOf::ALL {
            let mut last = None;
            loop {
                let page = origin.base(ShardId(shard as u8), of, last)?;
                if page.cut != *cut {
                    return Err(cut_meanwhile());
                }
                page.lines.iter().try_for_each(|line| sink.base_row(line))?;
                last = page.last;
                if last.is_none() {
                    break;
                }
            }
        }
    }
    Ok(())
}

fn cut_meanwhile() -> Failure {
    let how = "history was cut while it was exported: the file is no whole data dir; export it once more";
    Failure::Failed(how.to_owned())
}

/// What the header says of itself, for those who compare two of them.
fn is_same(one: &Header, other: &Header) -> bool {
    let filter = |header: &Header| header.filter.as_ref().map(|filter| filter.get().to_owned());
    one.data_dir == other.data_dir && one.shards == other.shards && filter(one) == filter(other)
}
