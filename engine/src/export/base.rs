//! The base of a shard on its way out: rows that stand for the part of its log that was cut, page by page.
//!
//! Invariant: nothing is cut while an export goes on, or the pages say that something was: a base and a log that were not
//! of the same moment make no data dir.

use keyway_storage::{
    error::{Damage, ReadError},
    key::{Key, Tag},
    limits::{PAGE_BYTES_MAX, PAGE_LOOKS_MAX},
    line::{BaseOf, BaseRow, Cut},
    log::LogReader,
    rows::RowsReader,
};

use crate::refold::watermark_of;

/// One shard, as far as its base goes.
pub struct Base {
    /// Its log.
    pub log: LogReader,
    /// Its `state`.
    pub state: RowsReader,
    /// Its `views`.
    pub views: RowsReader,
}

/// A part of a base.
#[derive(Debug, Default)]
pub struct BasePage {
    /// The lines, without their ends.
    pub lines: Vec<String>,
    /// The last row of it; the next page begins behind it. None when there is no more.
    pub last: Option<Key>,
}

impl Base {
    /// What was cut of the shard.
    pub fn cut(&self) -> Result<Cut, ReadError> {
        let dense = self.log.dense();
        if dense.0 == 0 {
            // A base that is begun before the first cut stands for nothing yet.
            return Ok(Cut::default());
        }
        let watermark = |of: BaseOf| match self.rows(of).base()? {
            Some(base) => watermark_of(&base, of.watermark()),
            None => Err(Damage::new("base", "its rows are missing").into()),
        };
        let cut = Cut { dense, state: watermark(BaseOf::State)?, views: watermark(BaseOf::Views)? };
        match cut.state < dense || cut.views < dense {
            true => Err(Damage::new("base", "it ends before the log begins").into()),
            false => Ok(cut),
        }
    }

    fn rows(&self, of: BaseOf) -> &RowsReader {
        match of {
            BaseOf::State => &self.state,
            BaseOf::Views => &self.views,
        }
    }

    /// The rows of a base that come behind `last`.
    pub fn page(&self, of: BaseOf, last: Option<Key>) -> Result<BasePage, ReadError> {
        let mut page = BasePage::default();
        let Some(base) = self.rows(of).base()?.filter(|_| self.log.dense().0 > 0) else { return Ok(page) };
        let from = last.unwrap_or(Key::new(Tag::Block));
        let mut bytes = 0;
        for (looks, row) in base.scan(from, Key::from_slice(&[u8::MAX])).enumerate() {
            let (key, value) = row?;
            if Some(key) == last || key == Key::new(of.watermark()) {
                continue;
            }
            let row = BaseRow { shard: self.log.shard(), of, key, value };
            page.lines.push(row.to_line());
            bytes += page.lines.last().map_or(0, String::len);
            if looks >= PAGE_LOOKS_MAX || bytes > PAGE_BYTES_MAX {
                page.last = Some(key);
                break;
            }
        }
        Ok(page)
    }
}
