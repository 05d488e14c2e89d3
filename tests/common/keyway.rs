//! A real keyway: a process of its own on ports that the system chose, in a data dir that a test can keep.
//!
//! Invariant: it is ready when `start` returns, and gone when it is dropped.

use std::{
    fs::{self, File},
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, ExitStatus, Stdio},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;

use super::tool;

/// Longest wait for anything: far more than a busy machine needs, far less than a day in CI.
const WAIT_SECONDS_MAX: u64 = 60;
/// Pause between two looks at something that has no other way to tell.
const LOOK_MS: u64 = 10;
/// Largest answer that is read: a page with the largest input.
const BODY_BYTES_MAX: u64 = 64 << 20;
/// More than any request of a test has, but for its body, which needs no buffer.
const BUFFER_BYTES: usize = 16 << 10;

/// A running keyway.
pub struct Keyway {
    child: Child,
    /// Where webhooks come in: `http://ADDR`.
    pub url: String,
    /// Where the API is: `http://ADDR`.
    pub api: String,
    trace: PathBuf,
}

impl Keyway {
    /// Starts `keyway serve` on a home folder, with its `project.yaml` if it holds one, and waits until it is ready.
    pub fn start(home: &Path, flags: &[&str]) -> Self {
        Self::start_with(home, flags, &[])
    }

    /// The same, with these environment variables.
    pub fn start_with(home: &Path, flags: &[&str], variables: &[(&str, &str)]) -> Self {
        Self::spawn(home, flags, variables)
            .unwrap_or_else(|(status, trace)| panic!("it ended: {status}\n{trace}"))
    }

    /// The same, for a test that expects it to end: then its status and its trace.
    pub fn try_start(home: &Path, flags: &[&str]) -> Result<Self, (ExitStatus, String)> {
        Self::spawn(home, flags, &[])
    }

    fn spawn(home: &Path, flags: &[&str], variables: &[(&str, &str)]) -> Result<Self, (ExitStatus, String)> {
        let trace = home.join(format!("trace-{}", fs::read_dir(home).unwrap().count()));
        let mut command = tool();
        command.arg("serve");
        let anywhere = PathBuf::from("127.0.0.1:0");
        for (flag, value) in [
            ("--project", home.join("project.yaml")),
            ("--data-dir", home.join("data")),
            ("--listen", anywhere.clone()),
            ("--api-listen", anywhere),
        ] {
            if !flags.contains(&flag) && (flag != "--project" || value.exists()) {
                command.arg(flag).arg(value);
            }
        }
        let mut child = command
            .args(flags)
            .envs(variables.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(File::create(&trace).unwrap())
            .spawn()
            .unwrap();
        let (sender, receiver) = mpsc::channel();
        let stdout = child.stdout.take().unwrap();
        // Reads on after the first line, so that a server that prints more never meets a closed pipe.
        thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                let _ = sender.send(line);
            }
        });
        match receiver.recv_timeout(Duration::from_secs(WAIT_SECONDS_MAX)) {
            Ok(line) => {
                let addresses =
                    line.strip_prefix("keyway: ready on ").and_then(|rest| rest.split_once(", api on "));
                let (url, api) = addresses.unwrap_or_else(|| panic!("not the ready line: {line}"));
                Ok(Self { child, url: url.to_owned(), api: api.to_owned(), trace })
            }
            Err(mpsc::RecvTimeoutError::Disconnected) => {
                let status = child.wait().unwrap();
                Err((status, fs::read_to_string(trace).unwrap()))
            }
            Err(mpsc::RecvTimeoutError::Timeout) => {
                let _ = child.kill();
                panic!("not ready after {WAIT_SECONDS_MAX} s:\n{}", fs::read_to_string(trace).unwrap());
            }
        }
    }

    /// Where webhooks come in: `HOST:PORT`.
    pub fn address(&self) -> &str {
        self.url.split_once("://").unwrap().1
    }

    /// The process's id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The memory that the process has.
    pub fn memory_bytes(&self) -> u64 {
        self.memory("VmRSS:")
    }

    /// The most memory that the process ever had.
    pub fn memory_bytes_max(&self) -> u64 {
        self.memory("VmHWM:")
    }

    fn memory(&self, name: &str) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        line.trim().strip_suffix(" kB").unwrap().parse::<u64>().unwrap() << 10
    }

    /// What it traced so far.
    pub fn trace(&self) -> String {
        fs::read_to_string(&self.trace).unwrap()
    }

    /// Kills it with -9, as a crash would.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Sends a signal by its name, such as `HUP`.
    pub fn signal(&self, name: &str) {
        let status = std::process::Command::new("kill")
            .args([&format!("-{name}"), &self.pid().to_string()])
            .status()
            .unwrap();
        assert!(status.success());
    }

    /// Asks it to end with SIGTERM, and waits until it has.
    pub fn stop(mut self) -> ExitStatus {
        self.signal("TERM");
        self.wait()
    }

    /// Waits until it ends by itself.
    pub fn wait(&mut self) -> ExitStatus {
        let mut status = None;
        eventually("the process ends", || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        });
        status.unwrap()
    }

    /// Posts JSON to a webhook: status and answer.
    pub fn post(&self, path: &str, body: &str) -> (u16, Value) {
        let request = agent().post(format!("{}{path}", self.url)).content_type("application/json");
        document(request.send(body).unwrap())
    }

    /// Gets what the API has at a path, as text.
    pub fn text(&self, path: &str) -> String {
        agent().get(format!("{}{path}", self.api)).call().unwrap().body_mut().read_to_string().unwrap()
    }

    /// Gets a document of the API: status and answer.
    pub fn get(&self, path: &str) -> (u16, Value) {
        document(agent().get(format!("{}{path}", self.api)).call().unwrap())
    }

    /// Asks the API to do something, by POST: status and answer.
    pub fn ask(&self, path: &str, body: &Value) -> (u16, Value) {
        self.try_ask(path, body).unwrap()
    }

    /// Asks a server that may die before it has answered.
    pub fn try_ask(&self, path: &str, body: &Value) -> Result<(u16, Value), ureq::Error> {
        agent().post(format!("{}{path}", self.api)).send_json(body).map(document)
    }

    /// Waits until a run has ended; gives its attributes.
    pub fn ended_run(&self, id: &str) -> Value {
        let mut run = Value::Null;
        eventually("the run ends", || {
            let (status, mut answer) = self.get(&format!("/api/runs/{id}"));
            run = answer["data"]["attributes"].take();
            status == 200 && !run["finished_at"].is_null()
        });
        run
    }
}

impl Drop for Keyway {
    fn drop(&mut self) {
        // It may have ended already; then there is nothing to kill.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            eprintln!("--- trace of keyway\n{}", self.trace());
        }
    }
}

/// Looks until something holds; fails the test when it does not within a minute.
pub fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed().as_secs() < WAIT_SECONDS_MAX, "still waiting until {what}");
        thread::sleep(Duration::from_millis(LOOK_MS));
    }
}

/// A client that takes every status for an answer.
pub fn agent() -> ureq::Agent {
    let config = ureq::Agent::config_builder().http_status_as_error(false).proxy(None);
    // Zeros are written over both buffers for each request.
    let config = config.input_buffer_size(BUFFER_BYTES).output_buffer_size(BUFFER_BYTES);
    config.timeout_global(Some(Duration::from_secs(WAIT_SECONDS_MAX))).build().into()
}

fn document(mut answer: ureq::http::Response<ureq::Body>) -> (u16, Value) {
    let text = answer.body_mut().with_config().limit(BODY_BYTES_MAX).read_to_string().unwrap();
    (answer.status().as_u16(), serde_json::from_str(&text).unwrap_or(Value::String(text)))
}
