//! Verify: one shard's log and rows, read whole and held against each other.
//!
//! Invariant: only the scratch rows are written. What is wrong is a finding, not an error: the rest is looked at, too.

use std::panic::{AssertUnwindSafe, catch_unwind};

use keyway_storage::{
    directory::Store,
    error::ReadError,
    id::Ids,
    key::Tag,
    log::{Log, LogReader},
    place::Offset,
    rows::{Rows, RowsReader},
};

use crate::{
    audit::{Audit, Finding},
    queue::old::is_old,
    refold::{Ends, Refold, RefoldError, compare, watermark_of},
};

/// What was found in one shard.
#[derive(Debug, Default)]
pub struct Report {
    /// What is wrong with its log; nothing can mend that.
    pub log: Vec<Finding>,
    /// What is wrong with its rows; they can be derived anew.
    pub rows: Vec<Finding>,
}

/// What a shard is held against.
pub struct Bench<'a> {
    /// Makes and reads ids.
    pub ids: Ids,
    /// The logs of all shards.
    pub logs: &'a [LogReader],
    /// Empty rows of `state` and `views` that may be written.
    pub scratch: (Rows, Rows),
    /// Told how far the work is; false ends it.
    pub pass: &'a mut dyn FnMut(Offset) -> bool,
}

/// Reads a shard's log from end to end, folds it, and compares its rows with the fold.
pub fn verify(store: &Store, bench: Bench) -> Result<Report, RefoldError> {
    let log = store.log.reader();
    let (state, views) = (store.state.reader(), store.views.reader());
    let mut report = Report::default();
    let mut audit = Audit::new(bench.ids, bench.logs, bench.pass);
    let folded = catch_unwind(AssertUnwindSafe(|| {
        audit.see_kept(&log, &views)?;
        let mut refold = Refold::beside(&log, &state, &views, bench.scratch)?;
        let ends = Ends {
            state: watermark_of(&state, Tag::Watermark).unwrap_or_default(),
            views: watermark_of(&views, Tag::ViewsWatermark).unwrap_or_default(),
        };
        refold.run(&log, ends, &mut audit)?;
        if let (Some(folded_state), Some(folded_views)) = (refold.state(), refold.views()) {
            // Those of a version before are derived anew at the next start.
            if !is_old(&state) {
                report.rows.extend(finding("state", &state, &folded_state));
            }
            report.rows.extend(finding("views", &views, &folded_views));
        }
        refold.run(&log, Ends::both(store.log.live().end), &mut audit)
    }));
    report.log = audit.into_findings();
    let whole = Finding { place: "log".to_owned(), how: "its events contradict each other".to_owned() };
    match folded {
        Ok(Ok(())) => {}
        Ok(Err(RefoldError::Read(error))) => report.log.push(Finding { how: error.to_string(), ..whole }),
        Ok(Err(error)) => return Err(error),
        Err(_) => report.log.push(whole),
    }
    Ok(report)
}

fn finding(place: &str, disk: &RowsReader, folded: &RowsReader) -> Option<Finding> {
    let how = match compare(disk, folded) {
        Ok(how) => how?,
        Err(ReadError::Damaged(damage)) => damage.to_string(),
        Err(error) => error.to_string(),
    };
    Some(Finding { place: place.to_owned(), how })
}
