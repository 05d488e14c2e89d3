//! Where an export comes from: a data dir that no server has open, or a server.
//!
//! Invariant: both give the same lines for the same events.

use std::path::Path;

use keyway_engine::export::{Filter, Page, page};
use keyway_ingest::api::{ApiError, Values, export_filter};
use keyway_storage::{
    directory::{DataDir, Store},
    line::Header,
    log::Log,
    place::{Offset, Place, ShardId, Span, Timestamp},
};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::Query;
use crate::{client::Client, failure::Failure, offline};

/// Gives events.
pub trait Origin {
    /// The first line, and for each shard the first event that is not wanted.
    fn begin(&mut self) -> Result<(Header, Vec<Offset>), Failure>;

    /// The first shard whose history was cut, and the offset before which it was.
    fn cut(&self) -> Option<(usize, Offset)>;

    /// Some events of a shard within these offsets.
    fn page(&mut self, shard: ShardId, span: Span, query: &Query) -> Result<Page, Failure>;
}

/// A data dir that is locked meanwhile.
pub struct Disk {
    data: DataDir,
    stores: Vec<Store>,
    filter: Filter,
}

impl Disk {
    /// Opens a data dir.
    pub fn open(path: &Path, query: &Query) -> Result<Self, Failure> {
        let filter = export_filter(&Pairs(query)).map_err(|error| Failure::Usage(error.to_string()))?;
        let data = offline::open(Some(path))?;
        let stores =
            data.shards().map(|shard| offline::open_shard(&data, shard)).collect::<Result<_, _>>()?;
        Ok(Self { data, stores, filter })
    }
}

/// The filters of the command line, where the API would have a query.
struct Pairs<'a>(&'a Query);

impl Values for Pairs<'_> {
    fn value(&self, name: &str) -> Result<Option<String>, ApiError> {
        Ok(self.0.iter().find(|(known, _)| *known == name).map(|(_, value)| value.clone()))
    }
}

impl Origin for Disk {
    fn begin(&mut self) -> Result<(Header, Vec<Offset>), Failure> {
        let ends = self.stores.iter().map(|store| store.log.live().end).collect();
        Ok((Header::new(self.data.manifest(), self.data.routes(), Timestamp(0)), ends))
    }

    fn cut(&self) -> Option<(usize, Offset)> {
        first_cut(self.stores.iter().map(|store| store.log.live().first))
    }

    fn page(&mut self, shard: ShardId, span: Span, _: &Query) -> Result<Page, Failure> {
        let log = self.stores[usize::from(shard.0)].log.reader();
        page(&log, &self.filter, span).map_err(|error| Failure::Damaged(error.to_string()))
    }
}

/// The first of these beginnings that is one of a log that was cut.
fn first_cut(firsts: impl Iterator<Item = Offset>) -> Option<(usize, Offset)> {
    firsts.enumerate().find(|(_, first)| first.0 > 0)
}

/// A running server.
pub struct Server {
    client: Client,
    /// Where each log begins of which every event is there.
    firsts: Vec<Offset>,
}

/// What the server says of itself.
#[derive(Deserialize)]
struct Begin {
    data: Header,
    meta: Tails,
}

#[derive(Deserialize)]
struct Tails {
    tails: Vec<Offset>,
    firsts: Vec<Offset>,
}

/// A page of lines.
#[derive(Deserialize)]
struct Lines<'a> {
    #[serde(borrow)]
    data: Vec<&'a RawValue>,
    meta: Next,
}

#[derive(Deserialize)]
struct Next {
    next: Offset,
    reach: Vec<Place>,
}

impl Server {
    /// Asks this server.
    pub fn new(client: Client) -> Self {
        Self { client, firsts: Vec::new() }
    }
}

impl Origin for Server {
    fn begin(&mut self) -> Result<(Header, Vec<Offset>), Failure> {
        let answer = self.client.text("/api/export", &[])?;
        let begin: Begin = serde_json::from_str(&answer).map_err(foreign)?;
        self.firsts = begin.meta.firsts;
        Ok((begin.data, begin.meta.tails))
    }

    fn cut(&self) -> Option<(usize, Offset)> {
        first_cut(self.firsts.iter().copied())
    }

    fn page(&mut self, shard: ShardId, span: Span, query: &Query) -> Result<Page, Failure> {
        let number = |number: u64| number.to_string();
        let span = [("from", number(span.first.0)), ("to", number(span.end.0))];
        let query = [&[("shard", number(shard.0.into()))][..], &span, query].concat();
        let answer = self.client.text("/api/export", &query)?;
        let Lines { data, meta } = serde_json::from_str(&answer).map_err(foreign)?;
        let lines = data.iter().map(|line| line.get().to_owned()).collect();
        Ok(Page { lines, next: meta.next, reach: meta.reach })
    }
}

fn foreign(error: serde_json::Error) -> Failure {
    Failure::Failed(format!("the server does not answer as this keyway does: {error}"))
}
