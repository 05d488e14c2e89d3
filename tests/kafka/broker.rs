//! A real Apache Kafka: one broker on free ports, with all kinds of logins, in a folder of its own.
//!
//! Invariant: it serves when `start` returns, and is gone when it is dropped or when the test's process ends.

use std::{
    fs,
    io::Write,
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Stdio},
    sync::{
        OnceLock,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use rdkafka::{
    ClientConfig,
    consumer::{BaseConsumer, Consumer},
};

use crate::common::keyway::eventually;

/// Users of the listeners that ask for a login, all with this password: `orders` may do all, the others what
/// `let_read` lets them.
pub const PASSWORD: &str = "a-secret-4711";
/// How much of a broker's trace a failed test shows.
const TRACE_LINES: usize = 40;
/// Where two listeners say that the broker is: nobody knows the name of the one, nothing listens at the other.
pub const LOST: &str = "no-such-broker.invalid:9092";
pub const DEAD: &str = "127.0.0.1:9";
/// The address of a broker that someone else started, for the tests that only need an open listener.
const OUTSIDE: &str = "KEYWAY_TEST_KAFKA";

/// A running broker.
pub struct Broker {
    home: tempfile::TempDir,
    ports: [u16; 7],
    /// The shell that kills the broker when this pipe ends.
    guard: Option<(Child, ChildStdin)>,
}

impl Broker {
    /// Formats a folder, and starts a broker on it.
    pub fn start() -> Self {
        let home = tempfile::tempdir().unwrap();
        let ports = free_ports();
        make_certificate(home.path());
        let properties = properties(home.path(), ports) + &kafka_tool("settings");
        fs::write(home.path().join("server.properties"), properties).unwrap();
        let mut broker = Self { home, ports, guard: None };
        let scram = |kind: &str, user: &str| format!("SCRAM-SHA-{kind}=[name={user},password={PASSWORD}]");
        let mut format = broker.java("kafka.tools.StorageTool");
        format.args(["format", "--standalone", "-t", "MkU3OEVBNTcwNTJENDM2Qk", "-c"]);
        format.arg(broker.home.path().join("server.properties"));
        for (kind, user) in [("256", "orders"), ("512", "orders"), ("256", "no_topic"), ("256", "no_group")] {
            format.args(["--add-scram", &scram(kind, user)]);
        }
        let output = format.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        broker.restart();
        broker
    }

    /// Starts it on the folder that it had.
    pub fn restart(&mut self) {
        let mut server = self.java("kafka.Kafka");
        server.arg(self.home.path().join("server.properties"));
        // A shell that waits for our end: a test that fails or is killed leaves no broker behind.
        let mut guard = Command::new("sh");
        guard
            .args(["-c", "\"$@\" >>\"$0\" 2>&1 & echo $! >\"$0.pid\"; cat >/dev/null; kill -9 $!"])
            .arg(self.home.path().join("trace"));
        guard.arg(server.get_program()).args(server.get_args());
        let mut child = guard.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
        let stdin = child.stdin.take().unwrap();
        self.guard = Some((child, stdin));
        let probe: BaseConsumer =
            ClientConfig::new().set("bootstrap.servers", self.address()).create().unwrap();
        let answers =
            || probe.fetch_metadata(None, Duration::from_secs(1)).is_ok_and(|it| !it.brokers().is_empty());
        eventually(&format!("the broker serves, see {}", self.home.path().display()), answers);
    }

    /// Kills it with -9.
    pub fn kill(&mut self) {
        let Some((mut child, stdin)) = self.guard.take() else { return };
        drop(stdin);
        child.wait().unwrap();
    }

    /// Cuts a partition's messages in half while it does not run, as a disk does that lost what was not synced.
    pub fn truncate(&self, topic: &str, partition: i32) {
        let segment = format!("data/{topic}-{partition}/00000000000000000000.log");
        let segment = fs::OpenOptions::new().write(true).open(self.home.path().join(segment)).unwrap();
        let length = segment.metadata().unwrap().len();
        segment.set_len(length / 2).unwrap();
    }

    /// Lets a user of the logins read all of one kind: `topic` or `group`.
    pub fn let_read(&self, user: &str, kind: &str) {
        let mut command = self.java("org.apache.kafka.tools.AclCommand");
        command.args(["--bootstrap-server", &self.address(), "--add", &format!("--{kind}"), "*"]);
        command.args(["--allow-principal", &format!("User:{user}"), "--operation", "read"]);
        let output = command.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    }

    /// Sends its process a signal by its name, such as `STOP`.
    pub fn signal(&self, name: &str) {
        let pid = fs::read_to_string(self.home.path().join("trace.pid")).unwrap();
        let status = Command::new("kill").args([&format!("-{name}"), pid.trim()]).status().unwrap();
        assert!(status.success());
    }

    /// Where it asks for nothing.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.ports[0])
    }

    /// Where it asks for a login.
    pub fn login_address(&self) -> String {
        format!("127.0.0.1:{}", self.ports[1])
    }

    /// Where it speaks TLS.
    pub fn tls_address(&self) -> String {
        format!("127.0.0.1:{}", self.ports[2])
    }

    /// Where it speaks TLS and asks for a login, which must be SCRAM.
    pub fn tls_login_address(&self) -> String {
        format!("127.0.0.1:{}", self.ports[3])
    }

    /// Where it says that it is at `LOST`.
    pub fn lost_address(&self) -> String {
        format!("127.0.0.1:{}", self.ports[4])
    }

    /// Where it says that it is at `DEAD`.
    pub fn dead_address(&self) -> String {
        format!("127.0.0.1:{}", self.ports[5])
    }

    /// The certificate of its authority.
    pub fn authority(&self) -> PathBuf {
        self.home.path().join("authority.pem")
    }

    fn java(&self, class: &str) -> Command {
        let mut command = Command::new("java");
        command.args(["-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]);
        command.args(["-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", "-cp"]);
        command.arg(format!("{}/lib/*", library().display())).arg(class);
        command
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            let trace = fs::read_to_string(self.home.path().join("trace")).unwrap_or_default();
            let last: Vec<&str> = trace.lines().rev().take(TRACE_LINES).collect();
            eprintln!("--- trace of the broker, last line first\n{}", last.join("\n"));
        }
    }
}

/// The broker that the tests of one process share, or that someone else started.
pub fn shared() -> &'static Broker {
    static SHARED: OnceLock<Broker> = OnceLock::new();
    SHARED.get_or_init(Broker::start)
}

/// Where the shared broker asks for nothing.
pub fn shared_address() -> String {
    std::env::var(OUTSIDE).unwrap_or_else(|_| shared().address())
}

/// Kafka's folder; it is downloaded when it is missing.
fn library() -> &'static Path {
    static LIBRARY: OnceLock<PathBuf> = OnceLock::new();
    LIBRARY.get_or_init(|| PathBuf::from(kafka_tool("install").trim()))
}

/// What the tool prints that users have, too.
fn kafka_tool(command: &str) -> String {
    let tool = Path::new(env!("CARGO_MANIFEST_DIR")).join("tools/kafka");
    let output = Command::new(tool).arg(command).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Ports below those that the system gives away: a broker that was killed finds them free when it comes back.
fn free_ports() -> [u16; 7] {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let mut listeners = std::iter::repeat_with(|| {
        let number = std::process::id().wrapping_mul(97).wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed));
        TcpListener::bind(("127.0.0.1", 10_000 + (number % 20_000) as u16))
    })
    .flatten();
    let listeners = [(); 7].map(|()| listeners.next().unwrap());
    listeners.map(|listener| listener.local_addr().unwrap().port())
}

/// The first of five free ports beside each other.
pub fn free_port_of_five() -> u16 {
    let is_free = |port: u16| TcpListener::bind(("127.0.0.1", port)).is_ok();
    let mut firsts = std::iter::repeat_with(|| free_ports()[0]);
    firsts.find(|first| (0..5).all(|next| is_free(first + next))).unwrap()
}

/// Makes an authority in this folder, which is a server's certificate, too.
pub fn make_certificate(home: &Path) {
    let made = Command::new("openssl")
        .current_dir(home)
        .args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"])
        .args(["-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost"])
        .args(["-keyout", "key.pem", "-out", "authority.pem"])
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let mut store = fs::File::create(home.join("store.pem")).unwrap();
    for part in ["key.pem", "authority.pem"] {
        store.write_all(&fs::read(home.join(part)).unwrap()).unwrap();
    }
}

fn properties(home: &Path, ports: [u16; 7]) -> String {
    let home = home.display();
    let [open, login, tls, tls_login, lost, dead, control] = ports;
    let usual = format!(
        "OPEN://127.0.0.1:{open},LOGIN://127.0.0.1:{login},TLS://127.0.0.1:{tls},TLSLOGIN://127.0.0.1:{tls_login}"
    );
    let scram = "org.apache.kafka.common.security.scram.ScramLoginModule required;";
    let plain = "org.apache.kafka.common.security.plain.PlainLoginModule required";
    format!(
        "node.id=1
process.roles=broker,controller
controller.quorum.bootstrap.servers=127.0.0.1:{control}
controller.listener.names=CONTROLLER
listeners={usual},LOST://127.0.0.1:{lost},DEAD://127.0.0.1:{dead},CONTROLLER://127.0.0.1:{control}
advertised.listeners={usual},LOST://{LOST},DEAD://{DEAD}
inter.broker.listener.name=OPEN
listener.security.protocol.map=CONTROLLER:PLAINTEXT,OPEN:PLAINTEXT,LOST:PLAINTEXT,DEAD:PLAINTEXT,LOGIN:SASL_PLAINTEXT,TLS:SSL,TLSLOGIN:SASL_SSL
log.dirs={home}/data
ssl.keystore.type=PEM
ssl.keystore.location={home}/store.pem
sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256,SCRAM-SHA-512
listener.name.login.scram-sha-256.sasl.jaas.config={scram}
listener.name.login.scram-sha-512.sasl.jaas.config={scram}
listener.name.login.plain.sasl.jaas.config={plain} user_orders=\"{PASSWORD}\";
listener.name.tlslogin.scram-sha-256.sasl.jaas.config={scram}
listener.name.tlslogin.scram-sha-512.sasl.jaas.config={scram}
listener.name.tlslogin.sasl.enabled.mechanisms=SCRAM-SHA-256,SCRAM-SHA-512
authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
super.users=User:ANONYMOUS;User:orders
auto.create.topics.enable=false
"
    )
}
