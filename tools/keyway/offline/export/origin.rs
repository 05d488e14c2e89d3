//! Where an export comes from: a data dir that no server has open, or a server.
//!
//! Invariant: both give the same lines for the same events.

use std::path::Path;

use keyway_engine::export::{Base, BasePage, Filter, Page, page};
use keyway_ingest::api::{ApiError, Values, export_filter};
use keyway_storage::{
    directory::{DataDir, Store},
    error::ReadError,
    key::Key,
    line::{BaseOf, Cut, Header, key_of},
    log::Log,
    place::{Offset, Place, ShardId, Span, Timestamp},
};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::Query;
use crate::{client::Client, failure::Failure, offline};

/// How an export begins.
pub struct Start {
    /// The first line.
    pub header: Header,
    /// For each shard the first event that is not wanted.
    pub ends: Vec<Offset>,
    /// For each shard what was cut.
    pub cuts: Vec<Cut>,
}

/// Some rows of a base.
pub struct Rows {
    /// Their lines.
    pub lines: Vec<String>,
    /// The last of them, if there are more.
    pub last: Option<Key>,
    /// What was cut when they were read.
    pub cut: Cut,
}

/// Gives events.
pub trait Origin {
    /// What there is at this moment.
    fn begin(&mut self) -> Result<Start, Failure>;

    /// The rows of a base behind `last`.
    fn base(&mut self, shard: ShardId, of: BaseOf, last: Option<Key>) -> Result<Rows, Failure>;

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
    fn begin(&mut self) -> Result<Start, Failure> {
        let ends = self.stores.iter().map(|store| store.log.live().end).collect();
        let cuts = self.stores.iter().map(|store| base_of(store).cut()).collect::<Result<_, _>>();
        let header = Header::new(self.data.manifest(), self.data.routes(), Timestamp(0));
        Ok(Start { header, ends, cuts: cuts.map_err(damaged)? })
    }

    fn base(&mut self, shard: ShardId, of: BaseOf, last: Option<Key>) -> Result<Rows, Failure> {
        let base = base_of(&self.stores[usize::from(shard.0)]);
        let BasePage { lines, last } = base.page(of, last).map_err(damaged)?;
        Ok(Rows { lines, last, cut: base.cut().map_err(damaged)? })
    }

    fn page(&mut self, shard: ShardId, span: Span, _: &Query) -> Result<Page, Failure> {
        let log = self.stores[usize::from(shard.0)].log.reader();
        page(&log, &self.filter, span).map_err(damaged)
    }
}

fn base_of(store: &Store) -> Base {
    Base { log: store.log.reader(), state: store.state.reader(), views: store.views.reader() }
}

fn damaged(error: ReadError) -> Failure {
    Failure::Damaged(error.to_string())
}

/// A running server.
pub struct Server {
    client: Client,
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
    cuts: Vec<Cut>,
}

/// A page of rows.
#[derive(Deserialize)]
struct BaseLines<'a> {
    #[serde(borrow)]
    data: Vec<&'a RawValue>,
    meta: After,
}

#[derive(Deserialize)]
struct After {
    after: Option<String>,
    cut: Cut,
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
        Self { client }
    }
}

impl Origin for Server {
    fn begin(&mut self) -> Result<Start, Failure> {
        // The first question stops what is cut, the second one finds where it stopped.
        self.client.text("/api/export", &[])?;
        let answer = self.client.text("/api/export", &[])?;
        let Begin { data, meta } = serde_json::from_str(&answer).map_err(foreign)?;
        Ok(Start { header: data, ends: meta.tails, cuts: meta.cuts })
    }

    fn base(&mut self, shard: ShardId, of: BaseOf, last: Option<Key>) -> Result<Rows, Failure> {
        let mut query = vec![("shard", shard.0.to_string()), ("base", of.name().to_owned())];
        query.extend(last.map(|key| ("after", format!("{key:?}"))));
        let answer = self.client.text("/api/export", &query)?;
        let BaseLines { data, meta } = serde_json::from_str(&answer).map_err(foreign)?;
        let lines = data.iter().map(|line| line.get().to_owned()).collect();
        Ok(Rows { lines, last: meta.after.as_deref().and_then(key_of), cut: meta.cut })
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
