//! A server of the bench's own: this program, on a new data dir, with a project made for the load.
//!
//! Invariant: it is ready when `start` returns, and gone with its data when it is dropped.

use std::{
    env,
    fmt::Write,
    fs::{self, File},
    io::{BufRead, BufReader},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
};

use clap::ValueEnum;

use crate::{
    args::bench::{Signing, Webhook},
    bench::{process::Process, workspace::Workspace},
    failure::Failure,
};

/// The secret of signed webhooks: base64 for those that want it.
pub const SECRET: &str = "whsec_a2V5d2F5LWJlbmNoLWtleXdheS1iZW5jaC0=";
const SECRET_VARIABLE: &str = "BENCH_SECRET";
/// Lines of the trace that are shown when it does not start.
const TRACE_LINES_MAX: usize = 20;

/// A server that was started.
pub struct Started {
    child: Child,
    url: String,
    /// Where its API is.
    pub api: String,
    triggers: u16,
    data: PathBuf,
}

impl Started {
    /// Starts it, and waits until it is ready.
    pub fn start(flags: &Webhook, workspace: &Workspace) -> Result<Self, Failure> {
        let path = workspace.path();
        let (project, data) = (path.join("project.yaml"), path.join("data"));
        let failed =
            |error: std::io::Error| Failure::Failed(format!("the server cannot be started: {error}"));
        fs::write(&project, project_file(flags)).map_err(failed)?;
        let mut command = Command::new(env::current_exe().map_err(failed)?);
        for (name, _) in env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("KEYWAY_")) {
            command.env_remove(name);
        }
        let target = &flags.target;
        let executors = target.executors.or_else(|| (!target.sync).then_some(0));
        let optional = |name: &str, value: Option<u16>| {
            value.map(|value| [name.to_owned(), value.to_string()]).into_iter().flatten()
        };
        let name = |value: Option<clap::builder::PossibleValue>| {
            value.map(|value| value.get_name().to_owned()).expect("none of them is hidden")
        };
        command
            .arg("serve")
            .arg("--project")
            .arg(&project)
            .arg("--data-dir")
            .arg(&data)
            .args(["--listen", "127.0.0.1:0", "--api-listen", "127.0.0.1:0", "--hello"])
            .args(["--connections-max", "1000000"])
            .args(["--runtime", &name(target.runtime.to_possible_value())])
            .args(["--durability", &name(target.durability.to_possible_value())])
            .args(optional("--shards", target.shards))
            .args(optional("--executors", executors))
            .env(SECRET_VARIABLE, SECRET)
            .env_remove("RUST_LOG")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(File::create(path.join("trace")).map_err(failed)?)
            // Ctrl-c ends the load, not the server under it.
            .process_group(0);
        let mut child = command.spawn().map_err(failed)?;
        match ready(&mut child) {
            Some((url, api)) => Ok(Self { child, url, api, triggers: target.triggers, data }),
            None => {
                end(&mut child);
                Err(Failure::Failed(format!("the server did not start:\n{}", tail(&path.join("trace")))))
            }
        }
    }

    /// Its webhooks.
    pub fn urls(&self) -> Vec<String> {
        (0..self.triggers).map(|number| format!("{}/i/{}", self.url, trigger_id(number))).collect()
    }

    /// Its process.
    pub fn process(&self) -> Process {
        Process::new(self.child.id())
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        end(&mut self.child);
        // The workspace goes too; until then its next server needs room.
        let _ = fs::remove_dir_all(&self.data);
    }
}

/// Waits for the ready line; `None` when the server ends instead.
fn ready(child: &mut Child) -> Option<(String, String)> {
    let mut lines = BufReader::new(child.stdout.take()?).lines();
    let line = lines.next()?.ok()?;
    let (url, api) = line.strip_prefix("keyway: ready on ")?.split_once(", api on ")?;
    // Reads on, so that a server that prints more never meets a closed pipe.
    thread::spawn(move || lines.map_while(Result::ok).for_each(drop));
    Some((url.to_owned(), api.to_owned()))
}

fn end(child: &mut Child) {
    // Its data is thrown away: there is nothing to end in order. It may have ended by itself.
    let _ = child.kill();
    let _ = child.wait();
}

fn tail(path: &Path) -> String {
    let text = fs::read_to_string(path).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(TRACE_LINES_MAX)..].join("\n")
}

fn trigger_id(number: u16) -> String {
    format!("0c9f1f9e-60a4-4f0c-8a4a-{number:012x}")
}

/// A project with one workflow, of one trivial job, for each webhook.
fn project_file(flags: &Webhook) -> String {
    let mut text = "name: bench\n".to_owned();
    let mut line = |depth: usize, line: &str| {
        writeln!(text, "{:1$}{line}", "", 2 * depth).expect("writing to a string does not fail");
    };
    if let Some(sign) = flags.content.sign {
        let scheme = match sign {
            Signing::Github => "github",
            Signing::Stripe => "stripe",
            Signing::StandardWebhooks => "standard_webhooks",
        };
        line(0, "webhook_auth_methods:");
        line(1, &format!("sender: {{type: hmac, scheme: {scheme}, secret: {{env: {SECRET_VARIABLE}}}}}"));
    }
    line(0, "workflows:");
    for number in 0..flags.target.triggers {
        line(1, &format!("intake-{number}:"));
        line(
            2,
            "jobs: {noop: {name: Noop, adaptor: '@openfn/language-common@latest', body: \"fn(state => state)\"}}",
        );
        line(2, "triggers:");
        line(3, "webhook:");
        line(4, &format!("id: {}", trigger_id(number)));
        line(4, "type: webhook");
        line(4, "enabled: true");
        if flags.target.sync {
            line(4, "webhook_reply: after_completion");
        }
        if flags.content.sign.is_some() {
            line(4, "webhook_auth_methods: [sender]");
        }
        if flags.content.keys.is_some() {
            line(4, "ordering: key");
            line(4, "ordering_key: /key");
        }
        line(
            2,
            "edges: {e: {source_trigger: webhook, target_job: noop, condition_type: always, enabled: true}}",
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::project_file;
    use crate::args::{Args, Bench, Command};
    use clap::Parser;
    use keyway_engine::project::{Origin, Reference, SecretSource, read};
    use keyway_ingest::trigger::types;

    struct Secrets;

    impl SecretSource for Secrets {
        fn resolve(&self, _: &Reference) -> Result<String, String> {
            Ok(super::SECRET.to_owned())
        }
    }

    #[test]
    fn the_project_of_every_load_is_valid() {
        for flags in [
            "",
            "--sync",
            "--keys 10 --triggers 3",
            "--sign github",
            "--sign stripe",
            "--sign standard_webhooks",
        ] {
            let line = ["keyway", "bench", "webhook"].into_iter().chain(flags.split_whitespace());
            let Command::Bench(Bench::Webhook(flags)) = Args::parse_from(line).command else {
                panic!("that was a bench")
            };
            let text = project_file(&flags);
            let origin = Origin { file: "bench".into(), folder: "/".into() };
            let reading = read(&text, &origin, &types(), &Secrets, &[], &mut || [1; 16]);
            let reading = reading.unwrap_or_else(|mistakes| panic!("{text}\n{mistakes:?}"));
            assert_eq!(reading.project.triggers().count(), usize::from(flags.target.triggers));
        }
    }
}
