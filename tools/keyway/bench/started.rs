//! A server of the bench's own: this program, on a new data dir.
//!
//! Invariant: it is ready when `start` returns, and gone with its data when it is dropped.

use std::{
    env,
    fs::{self, File},
    io::{BufRead, BufReader},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
};

use super::{process::Process, workspace::Workspace};
use crate::failure::Failure;

/// Lines of the trace that are shown when it does not start.
const TRACE_LINES_MAX: usize = 20;

/// A server that was started.
pub struct Started {
    child: Child,
    /// Where its webhooks are: `http://ADDR`.
    pub url: String,
    /// Where its API is.
    pub api: String,
    data: PathBuf,
}

impl Started {
    /// Starts it with this project, these further flags of `serve` and these variables, and waits until it is ready.
    pub fn start(
        workspace: &Workspace,
        project: &str,
        flags: &[String],
        variables: &[(&str, &str)],
    ) -> Result<Self, Failure> {
        let path = workspace.path();
        let (file, data) = (path.join("project.yaml"), path.join("data"));
        let failed =
            |error: std::io::Error| Failure::Failed(format!("the server cannot be started: {error}"));
        fs::write(&file, project).map_err(failed)?;
        let mut command = Command::new(env::current_exe().map_err(failed)?);
        for (name, _) in env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("KEYWAY_")) {
            command.env_remove(name);
        }
        command
            .arg("serve")
            .arg("--project")
            .arg(&file)
            .arg("--data-dir")
            .arg(&data)
            .args(["--listen", "127.0.0.1:0", "--api-listen", "127.0.0.1:0", "--hello"])
            .args(flags)
            .env_remove("RUST_LOG")
            .envs(variables.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(File::create(path.join("trace")).map_err(failed)?)
            // Ctrl-c ends the load, not the server under it.
            .process_group(0);
        let mut child = command.spawn().map_err(failed)?;
        match ready(&mut child) {
            Some((url, api)) => Ok(Self { child, url, api, data }),
            None => {
                end(&mut child);
                Err(Failure::Failed(format!("the server did not start:\n{}", tail(&path.join("trace")))))
            }
        }
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

/// Flags of `serve` that are given on, where they are set.
pub fn flag(name: &str, value: Option<impl ToString>) -> Vec<String> {
    value.map(|value| vec![name.to_owned(), value.to_string()]).unwrap_or_default()
}

/// The name of a choice, as the command line has it.
pub fn choice(value: &impl clap::ValueEnum) -> String {
    let value = value.to_possible_value().expect("none of ours is hidden");
    value.get_name().to_owned()
}
