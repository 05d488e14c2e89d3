//! Verify: whether a data dir is what was written, and whether its rows are what its log says.
//!
//! Invariant: files are looked at before the store opens them, because it mends what it can without a word. Without
//! `--repair` nothing is changed; with it only rows are, never the log.

use std::path::Path;

use keyway_engine::{
    audit::Finding,
    refold::RefoldError,
    verify::{Bench, Report, verify as verify_shard},
};
use keyway_storage::{
    directory::{DataDir, Fault, Store},
    log::{Log, LogReader},
    place::ShardId,
};
use serde_json::{Value, json};

use crate::{
    args::{Verify, What},
    failure::Failure,
    offline::{self, progress::Progress, rebuild},
    print::Printer,
};

/// Verifies a whole data dir.
pub fn verify(flags: &Verify, data_dir: Option<&Path>, out: &mut Printer) -> Result<(), Failure> {
    let data = offline::open(data_dir)?;
    let mut sheet = Sheet { out, shards: Vec::new(), findings: Vec::new(), mended: 0, repair: flags.repair };
    let mut stores = Vec::new();
    for shard in data.shards() {
        let faults = data.inspect(shard).map_err(offline::refuse)?;
        for Fault { path, how } in &faults {
            let place = path.strip_prefix(data.path()).unwrap_or(path).display().to_string();
            sheet.finding(shard, "file", &Finding { place, how: how.clone() })?;
        }
        // What the store may trip over, or mend, stays as it is, but for tables that may be those of rows.
        let in_tables =
            faults.iter().all(|fault| fault.path.parent().is_some_and(|it| it.ends_with("tables")));
        let can_open = faults.is_empty() || flags.repair && in_tables;
        if !can_open {
            continue;
        }
        match offline::open_shard(&data, shard) {
            Ok(store) => stores.extend(Opened::of(shard, store, &faults)),
            Err(Failure::Damaged(how)) => {
                sheet.finding(shard, "file", &Finding { place: "store".to_owned(), how })?;
            }
            Err(failure) => return Err(failure),
        }
    }
    compare(&data, stores, flags.repair, &mut sheet)?;
    sheet.close(&data)
}

/// A shard that is looked into.
struct Opened {
    shard: ShardId,
    store: Store,
    /// Which rows have tables that are not what was written.
    broken: [bool; 2],
    faults: usize,
}

impl Opened {
    /// A shard whose faults, if it has any, are all in tables of rows: those can be derived anew.
    fn of(shard: ShardId, store: Store, faults: &[Fault]) -> Option<Self> {
        let is_in =
            |fault: &Fault, folder: Option<&Path>| folder.is_some_and(|it| fault.path.starts_with(it));
        let [state, views] = [store.state.folder(), store.views.folder()];
        let can_mend = faults.iter().all(|fault| is_in(fault, state) || is_in(fault, views));
        let broken = [state, views].map(|folder| faults.iter().any(|fault| is_in(fault, folder)));
        can_mend.then_some(Self { shard, store, broken, faults: faults.len() })
    }
}

/// Holds logs and rows against each other.
fn compare(data: &DataDir, stores: Vec<Opened>, repair: bool, sheet: &mut Sheet) -> Result<(), Failure> {
    let logs: Vec<LogReader> = stores.iter().map(|opened| opened.store.log.reader()).collect();
    let count = stores.iter().map(|opened| rebuild::events(&opened.store)).sum();
    let progress = Progress::new(count, "events")?;
    let mut before = 0;
    for Opened { shard, store, broken, faults } in stores {
        let live = store.log.live();
        let bench = Bench {
            ids: data.ids(),
            logs: &logs,
            scratch: data.scratch().map_err(offline::refuse)?,
            pass: &mut |next| progress.reach(before + next.0.saturating_sub(live.first.0)),
        };
        let report = verify_shard(&store, bench).map_err(|error| match error {
            RefoldError::Stopped => Failure::Failed("stopped before the end".to_owned()),
            other => Failure::Failed(other.to_string()),
        })?;
        sheet.report(shard, &report, live.len())?;
        if let Some(what) = wrong(&report, broken).filter(|_| repair && report.log.is_empty()) {
            rebuild::derive(store, what, &mut |_| !progress.is_interrupted())?;
            sheet.mend(shard, what, report.rows.len() + faults)?;
        }
        before += live.len() as u64;
    }
    progress.finish();
    Ok(())
}

/// Which projections have to be derived anew.
fn wrong(report: &Report, broken: [bool; 2]) -> Option<What> {
    let is_wrong = |name: &str| report.rows.iter().any(|finding| finding.place == name);
    match (is_wrong("state") || broken[0], is_wrong("views") || broken[1]) {
        (false, false) => None,
        (true, false) => Some(What::State),
        (false, true) => Some(What::Views),
        (true, true) => Some(What::All),
    }
}

/// What was found so far.
struct Sheet<'a> {
    out: &'a mut Printer,
    shards: Vec<Value>,
    findings: Vec<Value>,
    mended: usize,
    repair: bool,
}

impl Sheet<'_> {
    fn finding(&mut self, shard: ShardId, what: &str, finding: &Finding) -> Result<(), Failure> {
        let Finding { place, how } = finding;
        self.findings.push(json!({ "shard": shard.0, "what": what, "where": place, "how": how }));
        match self.out.is_json() {
            true => Ok(()),
            false => self.out.line(&format!("shard {}: {what}: {place}: {how}", shard.0)),
        }
    }

    fn report(&mut self, shard: ShardId, report: &Report, events: usize) -> Result<(), Failure> {
        self.shards.push(json!({ "shard": shard.0, "events": events }));
        report.log.iter().try_for_each(|finding| self.finding(shard, "log", finding))?;
        report.rows.iter().try_for_each(|finding| self.finding(shard, "rows", finding))?;
        let is_well = report.log.is_empty() && report.rows.is_empty();
        match is_well && !self.out.is_json() {
            true => self.out.line(&format!("shard {}: {events} events, all is well", shard.0)),
            false => Ok(()),
        }
    }

    fn mend(&mut self, shard: ShardId, what: What, findings: usize) -> Result<(), Failure> {
        self.mended += findings;
        match self.out.is_json() {
            true => Ok(()),
            false => self.out.line(&format!("shard {}: {} derived anew", shard.0, what.name())),
        }
    }

    /// Prints what is left to print, and says with what the command ends.
    fn close(self, data: &DataDir) -> Result<(), Failure> {
        if self.out.is_json() {
            let path = data.path().display().to_string();
            self.out.document(&json!({
                "data_dir": path, "shards": self.shards, "findings": self.findings, "mended": self.mended,
            }))?;
        }
        self.out.flush()?;
        let in_rows = self.findings.iter().filter(|finding| finding["what"] == "rows").count();
        match self.findings.len() - self.mended {
            0 => Ok(()),
            left if left == in_rows => {
                Err(Failure::Damaged("rows are damaged: `verify --repair` derives them anew".to_owned()))
            }
            _ if self.repair => Err(Failure::Damaged("damage found that nothing can mend".to_owned())),
            _ => {
                let hint = "damage found: `verify --repair` mends what is not in the log";
                Err(Failure::Damaged(hint.to_owned()))
            }
        }
    }
}
