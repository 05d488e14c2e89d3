//! Refold: the rows that the log alone gives, held against those on disk.
//!
//! Invariant: nothing is written. A difference is a bug or damage; the log is right and the rows are wrong.

use std::sync::Arc;

use keyway_storage::{
    error::{CommitError, ReadError},
    key::{Key, Tag},
    place::Offset,
    rows::{Row, Rows, RowsReader},
};

use crate::{projection::Views, shard::ShardReader, state::State};

/// The first key on which rows and log disagree, with the name of the keyspace; `None` when they are the same.
pub fn difference(reader: &ShardReader) -> Result<Option<String>, ReadError> {
    let state_until = watermark_of(&reader.state, Tag::Watermark)?;
    let views_until = watermark_of(&reader.views, Tag::ViewsWatermark)?;
    let no_projects = Arc::new(|_, _: Option<&_>| None);
    let mut state = State::open(reader.shard, Rows::memory(Tag::Watermark), no_projects)?;
    let mut views = Views::open(Rows::memory(Tag::ViewsWatermark));
    let mut next = Offset(0);
    for block in reader.log.blocks(next) {
        let block = block?;
        for event in block.events(next) {
            let event = event?;
            if event.place.offset < state_until {
                state.apply(&event)?;
            }
            if event.place.offset < views_until {
                views.apply(&event)?;
            }
        }
        next = block.span().end;
        let full = |_: CommitError| ReadError::Io("memory is full".to_owned());
        state.commit(next.min(state_until)).map_err(full)?;
        views.commit(next.min(views_until)).map_err(full)?;
    }
    let in_state = compare("state", &reader.state, &state.reader())?;
    Ok(if in_state.is_some() { in_state } else { compare("views", &reader.views, &views.reader())? })
}

fn watermark_of(rows: &RowsReader, tag: Tag) -> Result<Offset, ReadError> {
    let value = rows.get(&Key::new(tag))?;
    Ok(value.map_or(Offset(0), |value| {
        Offset(u64::from_le_bytes(value[..].try_into().expect("a watermark is eight bytes")))
    }))
}

fn compare(keyspace: &str, disk: &RowsReader, folded: &RowsReader) -> Result<Option<String>, ReadError> {
    let everything = (Key::new(Tag::Block), Key::from_slice(&[u8::MAX]));
    let mut disk = disk.scan(everything.0, everything.1);
    let mut folded = folded.scan(everything.0, everything.1);
    let next = |rows: &mut dyn Iterator<Item = Row>| rows.next().transpose();
    loop {
        let (left, right) = (next(&mut disk)?, next(&mut folded)?);
        match (left, right) {
            (None, None) => return Ok(None),
            (left, right) if left == right => {}
            (left, right) => {
                return Ok(Some(format!("{keyspace}: on disk {left:?}, from the log {right:?}")));
            }
        }
    }
}
