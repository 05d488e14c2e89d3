//! A request that was routed, with what it takes to answer it.
//!
//! Invariant: a call reads what was durable when it came, or newer: whoever was told of an event finds it.

use std::sync::Arc;

use keyway_engine::{
    catalog::Catalog,
    command::{Answer, Command},
    project::Project,
    shard::ShardReader,
};
use keyway_storage::{
    event::{EventKind, ProjectApplied},
    id::What,
    key::{Key, Tag},
    place::{Offset, Place, ShardId},
    table::{ProjectRow, Table},
};
use serde_json::{Map, Value};
use uuid::Uuid;

use super::{Api, ApiError};
use crate::http::ApiRequest;

/// A request that was routed.
pub struct Call<'a> {
    /// What is asked.
    pub api: &'a Api,
    /// All shards, in order.
    pub readers: Vec<ShardReader>,
    /// The request.
    pub request: &'a ApiRequest,
    /// The id in the path.
    pub id: &'a str,
    /// The key in the path.
    pub key: &'a str,
}

impl<'a> Call<'a> {
    /// A call of a route.
    pub fn new(api: &'a Api, request: &'a ApiRequest, id: &'a str, key: &'a str) -> Self {
        Self { api, readers: api.readers.iter().map(ShardReader::settled).collect(), request, id, key }
    }

    /// The same call, reading what is durable by now.
    pub fn again(&self) -> Self {
        Self::new(self.api, self.request, self.id, self.key)
    }

    /// A parameter of the query.
    pub fn param(&self, name: &str) -> Option<String> {
        let found = form_urlencoded::parse(self.request.query.as_bytes()).find(|(key, _)| key == name);
        found.map(|(_, value)| value.into_owned()).filter(|value| !value.is_empty())
    }

    /// The body as a JSON object with no other keys than these; an empty body is an empty object.
    pub fn body(&self, keys: &[&str]) -> Result<Map<String, Value>, ApiError> {
        if self.request.body.is_empty() {
            return Ok(Map::new());
        }
        let body = serde_json::from_slice(&self.request.body)
            .map_err(|error| ApiError::bad_request(format!("The body is not JSON: {error}.")))?;
        let body = match body {
            Value::Object(body) => body,
            Value::Null => Map::new(),
            _ => return Err(ApiError::bad_request("The body must be a JSON object.")),
        };
        match body.keys().find(|key| !keys.contains(&key.as_str())) {
            Some(key) => Err(ApiError::invalid(format!("The body has an unknown key `{key}`."))),
            None => Ok(body),
        }
    }

    /// The reader of a shard.
    pub fn reader(&self, shard: ShardId) -> Result<&ShardReader, ApiError> {
        let found = self.readers.iter().find(|reader| reader.shard == shard);
        found.ok_or_else(|| ApiError::not_found(format!("There is no shard {}.", shard.0)))
    }

    /// Asks a shard for something, and waits for its durable answer.
    pub fn ask(&self, shard: ShardId, command: Command) -> Result<Answer, ApiError> {
        Ok(self.api.port(shard)?.ask(command)?)
    }

    /// The place that an id names, if it is one of ours and of this kind, and the event is there and of its time.
    pub fn locate(&self, id: &str, fits: impl Fn(What) -> bool) -> Result<(What, Place), ApiError> {
        let missing = || ApiError::not_found(format!("There is nothing with the id {id}."));
        let uuid = uuid_of(id).ok_or_else(missing)?;
        let decoded = self.api.ids.decode(uuid).filter(|decoded| fits(decoded.what)).ok_or_else(missing)?;
        let reader = self.reader(decoded.place.shard).map_err(|_| missing())?;
        let block = reader.log.block(decoded.place.offset)?.ok_or_else(missing)?;
        if block.at().millis() != decoded.millis {
            return Err(missing());
        }
        Ok((decoded.what, decoded.place))
    }

    /// The project in force, as the first shard has it.
    pub fn current(&self) -> Result<Option<Arc<Project>>, ApiError> {
        current(&self.readers, &self.api.catalog)
    }

    /// The project that was put into force at this offset.
    pub fn project_at(&self, shard: ShardId, offset: Offset) -> Option<Arc<Project>> {
        self.api.catalog.get(shard, offset)
    }
}

/// The project in force, as the first shard has it.
pub fn current(readers: &[ShardReader], catalog: &Catalog) -> Result<Option<Arc<Project>>, ApiError> {
    let Some((first, offset)) = applied_at(readers)? else { return Ok(None) };
    Ok(catalog.get(first.shard, offset))
}

/// The same with its file, which is read from the disk and may be large.
pub fn applied(
    readers: &[ShardReader],
    catalog: &Catalog,
) -> Result<Option<(Arc<Project>, ProjectApplied)>, ApiError> {
    let Some((first, offset)) = applied_at(readers)? else { return Ok(None) };
    let Some(event) = first.log.event(offset)? else { return Ok(None) };
    let EventKind::ProjectApplied(applied) = event.kind else { return Ok(None) };
    Ok(catalog.get(first.shard, offset).map(|project| (project, applied)))
}

fn applied_at(readers: &[ShardReader]) -> Result<Option<(&ShardReader, Offset)>, ApiError> {
    let Some(first) = readers.first() else { return Ok(None) };
    let Some(row) = first.state.get(&Key::new(Tag::Project))? else { return Ok(None) };
    Ok(Some((first, ProjectRow::from_value(&row)?.offset)))
}

impl Api {
    pub(super) fn port(&self, shard: ShardId) -> Result<&keyway_engine::admin::AdminPort, ApiError> {
        let port = self.ports.get(usize::from(shard.0));
        port.ok_or_else(|| ApiError::not_found(format!("There is no shard {}.", shard.0)))
    }
}

/// Only the text form with 36 characters is a UUID here, as in OpenFn.
pub fn uuid_of(text: &str) -> Option<Uuid> {
    (text.len() == 36).then(|| Uuid::try_parse(text).ok()).flatten()
}
