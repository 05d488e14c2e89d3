//! What `serve` says of itself: its traces, and which runtime it took.

use std::{
    ffi::OsStr,
    io::{BufRead, BufReader, Read},
    process::{Child, Command, Stdio},
};

use serde_json::Value;

use super::{HOOK, home};
use crate::common::{
    code,
    keyway::{Keyway, eventually},
    stderr, tool,
};

/// What glommio wants of locked memory is eight times as much.
const FEW_LOCKED_KIB: &str = "64";

#[test]
fn traces_in_json_are_one_object_a_line_and_weaker_durability_is_said_aloud() {
    let home = home();
    let flags = ["--shards", "1", "--log-format", "json", "--durability", "os", "--runtime", "epoll"];
    let server = Keyway::start(home.path(), &flags);
    server.signal("HUP");
    eventually("news are traced too", || server.trace().contains("SIGHUP"));
    let trace = server.trace();
    let lines: Vec<Value> = trace.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(lines.len() >= 3, "{trace}");
    for line in &lines {
        let texts = [&line["timestamp"], &line["target"], &line["fields"]["message"]];
        assert!(texts.iter().all(|text| text.is_string()), "{line}");
    }
    let os = "--durability os: an acknowledged input may be lost when this machine goes down";
    let of = |message: &str| lines.iter().find(|line| line["fields"]["message"] == message);
    assert_eq!(of(os).unwrap_or_else(|| panic!("{trace}"))["level"], "WARN");
    let doors = of("opening the doors").unwrap_or_else(|| panic!("{trace}"));
    assert_eq!((&doors["level"], &doors["fields"]["runtime"]), (&Value::from("INFO"), &Value::from("epoll")));
    assert_eq!(server.stop().code(), Some(0));
}

#[test]
fn traces_are_text_by_default_and_full_durability_needs_no_word() {
    let home = home();
    let server = Keyway::start(home.path(), &["--shards", "1"]);
    let trace = server.trace();
    let doors =
        trace.lines().find(|line| line.contains("opening the doors")).unwrap_or_else(|| panic!("{trace}"));
    assert!(doors.contains(" INFO "), "{doors:?}");
    assert!(!doors.contains('\u{1b}'), "a file gets no colours: {doors:?}");
    assert!(!trace.contains("--durability"), "{trace}");
    assert_eq!(server.stop().code(), Some(0));
}

/// `keyway serve` where a ring cannot be made: it wants more locked memory than it may have.
fn without_rings(home: &tempfile::TempDir, runtime: &str) -> Child {
    let tool = tool();
    let mut shell = Command::new("sh");
    shell.args(["-c", &format!("ulimit -S -l {FEW_LOCKED_KIB} && exec \"$@\""), "sh"]);
    shell.arg(tool.get_program()).arg("serve");
    for (name, value) in tool.get_envs() {
        assert_eq!(value, None::<&OsStr>);
        shell.env_remove(name);
    }
    let path = |name: &str| home.path().join(name);
    shell.arg("--project").arg(path("project.yaml")).arg("--data-dir").arg(path("data"));
    shell.args([
        "--listen",
        "127.0.0.1:0",
        "--api-listen",
        "127.0.0.1:0",
        "--shards",
        "2",
        "--runtime",
        runtime,
    ]);
    shell.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

#[test]
fn where_io_uring_is_not_to_be_had_auto_says_so_once_and_serves_on_epoll() {
    let home = home();
    let mut server = without_rings(&home, "auto");
    let mut ready = String::new();
    BufReader::new(server.stdout.take().unwrap()).read_line(&mut ready).unwrap();
    let url = ready.strip_prefix("keyway: ready on ").and_then(|rest| rest.split_once(", ")).unwrap().0;
    let answer = ureq::post(&format!("{url}{HOOK}")).content_type("application/json").send("{}").unwrap();
    assert_eq!(answer.status(), 200);
    assert!(Command::new("kill").arg(server.id().to_string()).status().unwrap().success());
    let mut trace = String::new();
    server.stderr.take().unwrap().read_to_string(&mut trace).unwrap();
    assert_eq!(server.wait().unwrap().code(), Some(0), "{trace}");
    let lines: Vec<_> = trace.lines().filter(|line| line.contains("running on epoll")).collect();
    assert_eq!(lines.len(), 1, "{trace}");
    assert!(lines[0].contains("io_uring is not available here"), "{trace}");
    assert!(lines[0].contains("MemLockLimit"), "{trace}");
    assert!(trace.contains("opening the doors runtime=\"epoll\""), "{trace}");
}

#[test]
fn io_uring_that_was_asked_for_and_is_not_to_be_had_ends_the_start_with_the_reason() {
    let home = home();
    let output = without_rings(&home, "io_uring").wait_with_output().unwrap();
    assert_eq!(code(&output), 1);
    assert!(stderr(&output).contains("MemLockLimit"), "{}", stderr(&output));
}
