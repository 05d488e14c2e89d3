//! What a user types to try the example: `tools/kafka run`, and tools/examples/orders.yaml as it stands.

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    net::TcpStream,
    path::Path,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    time::Duration,
};

use rdkafka::{
    ClientConfig,
    consumer::{BaseConsumer, Consumer},
};
use serde_json::json;

use crate::{
    broker::free_port_of_five,
    client::Client,
    common::keyway::{Keyway, eventually},
    world::{Setting, all, has_orders, is_idle, trigger},
};

/// `tools/kafka run`, until it is dropped.
struct Run {
    shell: Child,
    stdin: Option<ChildStdin>,
    _stdout: BufReader<ChildStdout>,
    /// The file that it says its authority is in.
    authority: String,
    _home: tempfile::TempDir,
}

impl Run {
    fn start(port: u16) -> Self {
        // A shell that waits for our end, and kills all of it: a test that fails leaves no broker behind.
        let mut shell = Command::new("bash");
        shell.args(["-c", "set -m; tools/kafka run \"$0\" & cat >/dev/null; kill -9 -- -$!"]);
        let home = tempfile::tempdir().unwrap();
        let trace = fs::File::create(home.path().join("trace")).unwrap();
        shell.arg(port.to_string()).current_dir(env!("CARGO_MANIFEST_DIR")).env("TMPDIR", home.path());
        // It serves for seconds: nothing of it is worth compiling well.
        shell.env("JAVA_TOOL_OPTIONS", "-XX:+UseSerialGC -XX:TieredStopAtLevel=1");
        let mut shell = shell.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(trace).spawn().unwrap();
        let (stdin, mut stdout) = (shell.stdin.take(), BufReader::new(shell.stdout.take().unwrap()));
        // Everything is made by then; it serves some seconds later.
        let mut line = String::new();
        stdout.read_line(&mut line).unwrap();
        assert!(line.starts_with("Kafka "), "{line}");
        line.clear();
        stdout.read_line(&mut line).unwrap();
        let authority = line.trim().strip_prefix("its authority (ssl.ca.location): ").unwrap().to_owned();
        Self { shell, stdin, _stdout: stdout, authority, _home: home }
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        drop(self.stdin.take());
        let _ = self.shell.wait();
    }
}

#[test]
fn the_example_works_with_the_broker_that_a_user_starts_for_it() {
    let port = free_port_of_five();
    let broker = Run::start(port);
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("tools/examples/orders.yaml");
    let project = fs::read_to_string(example).unwrap().replace("9094", &(port + 2).to_string());
    let home = tempfile::tempdir().unwrap();
    fs::write(home.path().join("project.yaml"), project).unwrap();
    let variables = [("KAFKA_TRIGGERS_ENABLED", "yes"), ("ORDERS_PASSWORD", "orders")];
    let server = Keyway::start_with(home.path(), &["--shards", "1", "--executors", "1"], &variables);
    eventually("the broker is there", || TcpStream::connect(("127.0.0.1", port)).is_ok());
    let mut send = Command::new("tools/kafka");
    send.args(["send", "orders", &port.to_string()]).current_dir(env!("CARGO_MANIFEST_DIR"));
    let mut send = send.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    let order = json!({"id": "A-1", "lines": [{"price": 600, "count": 2}]});
    writeln!(send.stdin.take().unwrap(), "ada\t{order}").unwrap();
    assert!(send.wait().unwrap().success());
    has_orders(&server, 1);
    is_idle(&server);
    let run = all(&server, "/api/runs").pop().unwrap();
    assert_eq!(run["state"], "success");
    assert_eq!(trigger(&server)["state"], "running");
    assert_eq!(all(&server, "/api/work_orders?include=input")[0]["input"]["request"]["key"], "ada");
    assert_eq!(server.stop().code(), Some(0));
    speaks_tls(port + 3, &broker.authority, None);
    speaks_tls(port + 4, &broker.authority, Some(("orders", "orders")));
    serves_tests(&format!("127.0.0.1:{port}"));
}

/// Brokers tell of themselves at this port to whom trusts that authority.
fn speaks_tls(port: u16, authority: &str, login: Option<(&str, &str)>) {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", format!("127.0.0.1:{port}")).set("ssl.ca.location", authority);
    config.set("security.protocol", if login.is_some() { "sasl_ssl" } else { "ssl" });
    if let Some((user, password)) = login {
        config.set("sasl.mechanism", "SCRAM-SHA-512").set("sasl.username", user);
        config.set("sasl.password", password);
    }
    let client: BaseConsumer = config.create().unwrap();
    let metadata = client.fetch_metadata(None, Duration::from_secs(30)).unwrap();
    let ports: Vec<i32> = metadata.brokers().iter().map(|broker| broker.port()).collect();
    assert_eq!(ports, [i32::from(port)]);
}

/// What tests ask of a broker that someone else started: short sessions, and messages of any age and size.
fn serves_tests(address: &str) {
    let setting = Setting::on(address, "outside", 1);
    let client = Client::new(address);
    let large = format!("{{\"note\":\"{}\"}}", "x".repeat(9_999_000));
    client.send_with(&setting.topic, b"k", large.as_bytes(), &[], 1_721_889_238_000);
    let home = tempfile::tempdir().unwrap();
    let server = setting.read(home.path(), 1);
    has_orders(&server, 1);
    eventually("it is committed", || client.committed(&setting.group, &setting.topic, 1) == [Some(1)]);
    assert_eq!(trigger(&server)["state"], "running");
    assert_eq!(server.stop().code(), Some(0));
}
