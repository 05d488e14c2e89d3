//! The log as lines that lose nothing: what `keyway events export` writes to a file.
//!
//! Invariant: a line is the same whether a server gives it or a data dir that no server has open.

use hyper::StatusCode;
use keyway_engine::{
    export::{Base, Filter, page as lines_of},
    shard::ShardReader,
};
use keyway_storage::{
    event::Kind,
    line::{BaseOf, Header, key_of},
    place::{Offset, ShardId, Span},
};
use serde_json::{json, value::RawValue};

use super::{ApiError, Reply, call::Call, document::Document, page};
use crate::time;

/// `GET /api/export`: of the whole data dir without a shard, else some lines of that shard.
pub fn export(call: &Call) -> Reply {
    let last_shard = call.readers.len().saturating_sub(1) as u64;
    let Some(shard) = page::number(call, "shard", 0, last_shard)? else { return begin(call) };
    let reader = call.reader(ShardId(shard as u8))?;
    if call.param("base").is_some() {
        return base(call, reader);
    }
    let filter = filter(call)?;
    if filter.is_everything() {
        reader.stats.wish_for_export();
    }
    let tail = reader.stats.tail();
    let first = Offset(page::number(call, "from", 0, u64::MAX)?.unwrap_or(0));
    let end = page::number(call, "to", 0, u64::MAX)?.map_or(tail, Offset).min(tail);
    let span = Span { first: first.min(end), end };
    let found = lines_of(&reader.log, &filter, span)?;
    let lines = raw(found.lines)?;
    let meta = json!({ "next": found.next, "reach": found.reach });
    let next = (found.next < end).then_some(("from", found.next.0));
    Ok((StatusCode::OK, page::list(call, &lines, meta.into(), next)))
}

/// What the lines are of, what was cut, and how far the log goes at this moment.
fn begin(call: &Call) -> Reply {
    // Whoever asks twice finds that nothing was cut in between.
    call.readers.iter().for_each(|reader| reader.stats.wish_for_export());
    let header = Header::new(&call.api.manifest, &call.api.routes, time::now());
    let tails: Vec<Offset> = call.readers.iter().map(|reader| reader.stats.tail()).collect();
    let cuts = call.readers.iter().map(|reader| base_of(reader).cut()).collect::<Result<Vec<_>, _>>()?;
    Ok((StatusCode::OK, Document::data(header).with("meta", json!({ "tails": tails, "cuts": cuts }))))
}

/// Rows that stand for what was cut of a shard.
fn base(call: &Call, reader: &ShardReader) -> Reply {
    reader.stats.wish_for_export();
    let name = call.param("base").unwrap_or_default();
    let of = BaseOf::ALL.into_iter().find(|of| of.name() == name);
    let of = of.ok_or_else(|| ApiError::invalid("`base`: it is `state` or `views`."))?;
    let last = call.param("after").map(|text| {
        key_of(&text).ok_or_else(|| ApiError::invalid("`after`: it is no key that a page ended with."))
    });
    let base = base_of(reader);
    let found = base.page(of, last.transpose()?)?;
    let after = found.last.map(|key| format!("{key:?}"));
    let meta = json!({ "after": after, "cut": base.cut()? });
    Ok((StatusCode::OK, page::list(call, &raw(found.lines)?, meta.into(), None::<(&str, u64)>)))
}

fn base_of(reader: &ShardReader) -> Base {
    let ShardReader { log, state, views, .. } = reader.clone();
    Base { log, state, views }
}

fn raw(lines: Vec<String>) -> Result<Vec<Box<RawValue>>, ApiError> {
    let lines = lines.into_iter().map(RawValue::from_string).collect::<Result<_, _>>();
    lines.map_err(|error| ApiError::internal(error.to_string()))
}

/// Which events are wanted.
pub fn filter(values: &impl page::Values) -> Result<Filter, ApiError> {
    let kinds = values.value("kind")?.unwrap_or_default();
    let kinds = kinds.split(',').map(str::trim).filter(|name| !name.is_empty());
    Ok(Filter {
        trigger: page::trigger(values)?,
        kinds: kinds.map(kind_named).collect::<Result<_, _>>()?,
        after: page::moment(values, "inserted_after")?,
        before: page::moment(values, "inserted_before")?,
    })
}

fn kind_named(name: &str) -> Result<Kind, ApiError> {
    let found = Kind::ALL.iter().copied().find(|kind| kind.name() == name);
    found.ok_or_else(|| ApiError::invalid(format!("`kind`: there is no event `{name}`.")))
}
