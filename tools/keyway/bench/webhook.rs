//! Loads webhooks: each step on a server of its own, with the same stack's hello beside it.
//!
//! Invariant: what was measured is reported, also when the server dies in the middle or someone ends the bench; what went
//! wrong then is the exit code.

mod check;
mod project;
mod search;
mod target;

use std::{fs, sync::Arc, time::Duration};

use serde_json::{Value, json};
use uuid::Uuid;

use super::{
    begin, hand_over,
    load::{
        Load, Outcome, Watch,
        interval::Interval,
        random::Zipf,
        requests::{Body, Recipe},
        signer::Signer,
        template::Template,
        worker::Timing,
    },
    measure::of_outcome,
    progress::Progress,
    report::{Report, Step},
    workspace::Workspace,
};
use crate::{
    args::{
        Common,
        bench::{Content, Load as LoadFlags, Webhook},
    },
    failure::Failure,
    print::Printer,
    signals::Interrupt,
};
use target::Target;

/// Files that are open beside the connections.
const OTHER_FILES: u64 = 64;
/// Bodies below this size are made of less.
const SHORT_BYTES: u32 = 120;

/// A step that is about to be measured.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// Open connections.
    pub connections: u32,
    /// Requests a second, if they are not sent when the last one is answered.
    pub rate: Option<f64>,
    /// How long.
    pub seconds: u64,
    /// Whether hello is measured too.
    pub baseline: bool,
}

/// What is needed for each step.
pub struct Bench<'a> {
    flags: &'a Webhook,
    common: &'a Common,
    workspace: &'a Workspace,
    template: Template,
    interrupt: Interrupt,
    progress: Progress,
    report: Report,
    /// Whether to go on with another step.
    goes_on: bool,
}

/// Measures, reports, and says what went wrong.
pub fn webhook(flags: &Webhook, common: &Common, out: &mut Printer) -> Result<(), Failure> {
    if common.data_dir_given {
        let hint = "a bench keeps its data in a folder of its own: name its place with --work-dir";
        return Err(Failure::Usage(hint.to_owned()));
    }
    let template = template(&flags.content)?;
    check_files(&flags.load, fs::read_to_string("/proc/self/limits").unwrap_or_default().as_str())?;
    let workspace = Workspace::new(&flags.target.work_dir)?;
    let report = begin("webhook", workspace.path(), settings(flags))?;
    let (interrupt, progress) = (Interrupt::new()?, Progress::new());
    let workspace = &workspace;
    let mut bench = Bench { flags, common, workspace, template, interrupt, progress, report, goes_on: true };
    let ended = match flags.load.slo {
        Some(objective) => search::search(&mut bench, objective),
        None => bench.steps(),
    };
    // A server that cannot be reached at all leaves nothing to report.
    if let (Err(failure), true) = (&ended, bench.report.steps.is_empty()) {
        return Err(failure.clone());
    }
    hand_over(&bench.report, &flags.output, out)?;
    ended.and_then(|()| verdict(&bench.report))
}

impl Bench<'_> {
    /// All combinations of the numbers of connections and the rates.
    fn steps(&mut self) -> Result<(), Failure> {
        let flags = &self.flags.load;
        let rates: Vec<Option<f64>> = match flags.rate.as_slice() {
            [] => vec![None],
            rates => rates.iter().map(|rate| Some(f64::from(*rate))).collect(),
        };
        for connections in flags.connections.clone() {
            for rate in rates.clone() {
                let baseline = !self.flags.target.no_baseline;
                let plan = Plan { connections, rate, seconds: self.flags.load.seconds, baseline };
                if self.goes_on {
                    self.step(&plan)?;
                }
            }
        }
        Ok(())
    }

    /// Measures one step, and gives its latencies.
    pub fn step(&mut self, plan: &Plan) -> Result<Interval, Failure> {
        let target = Target::open(self.flags, self.common, self.workspace)?;
        let name = match plan.rate {
            Some(rate) => format!("{} connections, {rate:.0}/s", plan.connections),
            None => format!("{} connections", plan.connections),
        };
        let mut baseline = None;
        if plan.baseline && target.has_hello() {
            let hello = self.load(plan, &target, Arc::new(Recipe::hello(&target.authority)), false);
            self.progress.begin(&format!("hello, {name}"));
            baseline = Some(of_outcome("hello", &self.run(&hello, &target)?));
        } else if plan.baseline {
            self.note("the server does not answer /hello: there is no baseline");
        }
        let load = self.load(plan, &target, Arc::new(self.recipe(&target)?), self.flags.target.check);
        let before = target.metrics();
        self.progress.begin(&name);
        let outcome = match self.goes_on {
            true => self.run(&load, &target)?,
            false => return Ok(Interval::default()),
        };
        let what =
            if self.flags.target.sync { "webhooks, answered after their run" } else { "durable webhooks" };
        let mut measured = of_outcome(what, &outcome);
        measured.appends = before.zip(target.metrics()).map(|(before, after)| after.since(&before));
        self.note_generator(plan, measured.generator_cores);
        let mut step = Step::new(name, measured, baseline);
        let mut all = outcome.late.clone();
        outcome.seconds.iter().for_each(|second| all.add(&second.interval));
        let checked = match self.flags.target.check {
            true => target.client().and_then(|client| check::check(&client, &outcome.tally)).map(Some),
            false => Ok(None),
        };
        if outcome.tally.overflowed {
            self.note(
                "more work orders were acknowledged than a bench keeps: the check covers the first ones",
            );
        }
        let failed = match checked {
            Ok(check) => {
                step.check = check;
                Ok(())
            }
            Err(failure) => Err(failure),
        };
        self.report.steps.push(step);
        failed.map(|()| all)
    }

    fn run(&mut self, load: &Load, target: &Target) -> Result<Outcome, Failure> {
        let mut watch =
            Watch { server: target.process(), interrupt: &self.interrupt, progress: &mut self.progress };
        let outcome = load.run(&mut watch)?;
        if outcome.interrupted {
            self.note("someone ended the bench before its time");
        }
        if outcome.hopeless {
            self.note("for three seconds nothing but errors came: the bench ended there");
        }
        self.goes_on &= !outcome.interrupted && !outcome.hopeless;
        Ok(outcome)
    }

    fn load(&self, plan: &Plan, target: &Target, recipe: Arc<Recipe>, keeps: bool) -> Load {
        let flags = &self.flags.load;
        let timeout = Duration::from_secs(flags.timeout_seconds);
        Load {
            address: target.address,
            recipe,
            connections: plan.connections as usize,
            threads: usize::from(flags.threads),
            rate: plan.rate,
            arrivals: flags.arrivals,
            timing: Timing { warm_up: flags.warm_up_seconds, seconds: plan.seconds, timeout },
            keeps,
        }
    }

    fn recipe(&self, target: &Target) -> Result<Recipe, Failure> {
        let content = &self.flags.content;
        let secret = content.secret.as_deref().unwrap_or(project::SECRET);
        let refuse =
            || Failure::Usage("--secret: Standard Webhooks have it in base64, after `whsec_`".to_owned());
        let signer =
            content.sign.map(|signing| Signer::new(signing, secret).ok_or_else(refuse)).transpose()?;
        let body = Body {
            template: self.template.clone(),
            bytes: content.body_bytes.iter().map(|bytes| *bytes as usize).collect(),
            keys: content.keys.map(|keys| Zipf::new(keys, content.zipf)),
            signer,
            idempotency: content.idempotency || content.repeats > 0,
            repeats: content.repeats,
        };
        Ok(Recipe {
            authority: target.authority.clone(),
            paths: target.paths.clone(),
            body: Some(body),
            headers: content.header.clone(),
            name: format!("{}-", Uuid::new_v4().simple()),
            seed: content.seed,
        })
    }

    /// Says it once.
    pub fn note(&mut self, note: &str) {
        if !self.report.notes.iter().any(|known| known == note) {
            self.report.notes.push(note.to_owned());
        }
    }

    fn note_generator(&mut self, plan: &Plan, cores: Option<f64>) {
        let threads = f64::from(self.flags.load.threads);
        if cores.is_some_and(|cores| cores > 0.95 * threads) {
            let connections = plan.connections;
            self.note(&format!(
                "at {connections} connections the load generator used all of its {threads} threads: \
                 the server may do more with --threads {}",
                threads * 2.0
            ));
        }
    }
}

/// What went wrong, if anything did.
fn verdict(report: &Report) -> Result<(), Failure> {
    for step in &report.steps {
        if let Some(check) = step.check.as_ref().filter(|check| !check.is_clean()) {
            return Err(Failure::Failed(format!(
                "{}: of {} acknowledged work orders {} are lost and {} are there twice; {} repeats were answered \
                 differently",
                step.name, check.acknowledged, check.lost, check.twice, check.repeated_differently
            )));
        }
    }
    let errors =
        |step: &&Step| report.search.is_none() && (step.measured.errors() > 0 || step.measured.events == 0);
    match report.steps.iter().find(errors) {
        Some(step) => Err(Failure::Failed(format!(
            "{}: {} requests were not answered with success",
            step.name,
            step.measured.errors()
        ))),
        None => Ok(()),
    }
}

fn template(content: &Content) -> Result<Template, Failure> {
    let Some(file) = &content.template else {
        let is_short = content.body_bytes.iter().any(|bytes| *bytes < SHORT_BYTES);
        return Ok(if is_short { Template::short() } else { Template::standard() });
    };
    let failed = |how: String| Failure::Failed(format!("{}: {how}", file.display()));
    let text = fs::read_to_string(file).map_err(|error| failed(error.to_string()))?;
    Template::parse(text.trim_end()).map_err(failed)
}

/// Whether so many connections may be opened; `limits` is what the kernel says of this process.
fn check_files(flags: &LoadFlags, limits: &str) -> Result<(), Failure> {
    let most = flags.connections.iter().copied().max().unwrap_or_default();
    let needed = u64::from(most) + OTHER_FILES;
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files")).unwrap_or_default();
    let mut numbers = line.split_whitespace().filter_map(|number| number.parse::<u64>().ok());
    let (soft, hard) = (numbers.next().unwrap_or(u64::MAX), numbers.next().unwrap_or(u64::MAX));
    if needed <= soft {
        return Ok(());
    }
    let remedy = match needed <= hard {
        true => format!("raise it with `ulimit -n {needed}` in this shell"),
        false => {
            format!("the hard limit is {hard}: raise LimitNOFILE= of the service, or nofile in limits.conf")
        }
    };
    Err(Failure::Usage(format!(
        "--connections {most} needs {needed} open files, and the limit of this process (RLIMIT_NOFILE) is {soft}: {remedy}"
    )))
}

fn settings(flags: &Webhook) -> Value {
    let (load, content, target) = (&flags.load, &flags.content, &flags.target);
    let name = |value: &dyn std::fmt::Debug| format!("{value:?}").to_lowercase();
    let mut settings = json!({
        "connections": load.connections,
        "rate": load.rate,
        "arrivals": name(&load.arrivals),
        "slo": load.slo.map(|slo| format!("p{}={:?}", slo.percentile, slo.within)),
        "seconds": load.seconds,
        "warm_up_seconds": load.warm_up_seconds,
        "timeout_seconds": load.timeout_seconds,
        "threads": load.threads,
        "body_bytes": content.body_bytes,
        "template": content.template,
        "keys": content.keys,
        "zipf": content.zipf,
        "idempotency": content.idempotency || content.repeats > 0,
        "repeats": content.repeats,
        "sign": content.sign.map(|sign| name(&sign)),
        "seed": content.seed,
        "url": target.url,
    });
    if target.url.is_empty() {
        settings["triggers"] = json!(target.triggers);
        settings["sync"] = json!(target.sync);
        settings["shards"] = json!(target.shards);
        settings["executors"] = json!(target.executors);
        settings["runtime"] = json!(name(&target.runtime));
        settings["durability"] = json!(name(&target.durability));
    }
    settings
}

#[cfg(test)]
mod tests {
    use super::check_files;
    use crate::{
        args::{Args, Bench, Command},
        failure::Failure,
    };
    use clap::Parser;

    #[test]
    fn too_many_connections_name_the_limit_and_the_way_to_raise_it() {
        let args = Args::parse_from(["keyway", "bench", "webhook", "--connections", "1,5000"]);
        let Command::Bench(Bench::Webhook(flags)) = args.command else { panic!("that was a bench") };
        let limits = |soft: u64, hard: u64| format!("Limit\nMax open files   {soft}   {hard}   files\n");
        assert!(check_files(&flags.load, &limits(10_000, 10_000)).is_ok());
        for (limits, remedy) in
            [(limits(1_024, 65_536), "ulimit -n 5064"), (limits(1_024, 4_096), "LimitNOFILE=")]
        {
            let Err(Failure::Usage(message)) = check_files(&flags.load, &limits) else {
                panic!("it is too many")
            };
            assert!(message.contains("RLIMIT_NOFILE) is 1024"), "{message}");
            assert!(message.contains(remedy), "{message}");
        }
    }
}
