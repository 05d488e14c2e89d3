//! Mail servers: one of our own, which takes messages by SMTP (RFC 5321) without TLS or does what else a test tells it
//! to, and aiosmtpd's, which is real.
//!
//! Invariant: our own knows as much of SMTP as a client that sends one message needs.

use std::{
    io::{BufRead, BufReader, Write},
    net::{TcpListener, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use serde_json::Value;

use super::clients;

/// A mail server; it ends with the test's process.
pub struct MailServer {
    /// `smtp://ADDR`.
    pub url: String,
    messages: Arc<Mutex<Vec<String>>>,
    refused: Arc<AtomicUsize>,
    heard: Arc<Mutex<Vec<String>>>,
}

/// How a server refuses messages.
struct Refusal {
    answer: &'static str,
    most: usize,
    refused: Arc<AtomicUsize>,
    /// The verbs of all commands.
    heard: Arc<Mutex<Vec<String>>>,
}

impl MailServer {
    /// A server that refuses so many messages (451, try later) before it takes one.
    pub fn new(refusals: usize) -> Self {
        Self::with("451 try later\r\n", refusals)
    }

    /// A server that refuses all messages, for good (550).
    pub fn refusing() -> Self {
        Self::with("550 not from you\r\n", usize::MAX)
    }

    fn with(answer: &'static str, most: usize) -> Self {
        let (listener, url) = listen();
        let (messages, refused) = (Arc::<Mutex<Vec<String>>>::default(), Arc::<AtomicUsize>::default());
        let heard = Arc::<Mutex<Vec<String>>>::default();
        let refusal = Refusal { answer, most, refused: Arc::clone(&refused), heard: Arc::clone(&heard) };
        let taken = Arc::clone(&messages);
        thread::spawn(move || {
            for stream in listener.incoming() {
                // A client that goes away is the business of the test that made it go.
                let _ = talk(stream.unwrap(), &refusal, &taken);
            }
        });
        Self { url, messages, refused, heard }
    }

    /// A server that takes connections and never says a word.
    pub fn silent() -> Self {
        let (listener, url) = listen();
        thread::spawn(move || listener.incoming().collect::<Vec<_>>());
        Self { url, messages: Arc::default(), refused: Arc::default(), heard: Arc::default() }
    }

    /// How many messages it refused.
    pub fn refused(&self) -> usize {
        self.refused.load(Ordering::SeqCst)
    }

    /// The verbs of the commands that it heard.
    pub fn heard(&self) -> Vec<String> {
        self.heard.lock().unwrap().clone()
    }

    /// The messages that it took, heads and bodies.
    pub fn messages(&self) -> Vec<String> {
        self.messages.lock().unwrap().clone()
    }
}

/// What `mail.py` does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Real {
    /// Takes messages after STARTTLS and a login.
    StartTls,
    /// Takes messages over TLS from the start, after a login.
    Implicit,
    /// Refuses all recipients for good (550), after STARTTLS and a login.
    Refuse,
}

/// aiosmtpd in a process of its own; it ends with the test's. Its certificate is `tls::FIRST`.
pub struct RealMailServer {
    child: Mutex<Child>,
    /// With the login that it lets in, `ward` and `p@ss:w0rd`.
    pub url: String,
    said: Arc<Mutex<Vec<Value>>>,
}

impl RealMailServer {
    /// Starts one.
    pub fn start(real: Real) -> Self {
        let common = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/common");
        let (mode, scheme, query) = match real {
            Real::StartTls => ("starttls", "smtp", "?tls=required"),
            Real::Implicit => ("implicit", "smtps", ""),
            Real::Refuse => ("refuse", "smtp", ""),
        };
        let mut child = Command::new("python3")
            .args([common.join("mail.py").to_str().unwrap(), mode])
            .args(["first.pem", "first.key"].map(|name| common.join("certificates").join(name)))
            .env("PYTHONPATH", clients())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let port = lines.next().unwrap().unwrap();
        let said = Arc::<Mutex<Vec<Value>>>::default();
        let heard = Arc::clone(&said);
        thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                heard.lock().unwrap().push(serde_json::from_str(&line).unwrap());
            }
        });
        let url = format!("{scheme}://ward:p%40ss%3Aw0rd@localhost:{port}{query}");
        Self { child: Mutex::new(child), url, said }
    }

    /// What it said of each message.
    pub fn said(&self) -> Vec<Value> {
        self.said.lock().unwrap().clone()
    }
}

impl RealMailServer {
    /// Ends it: nobody listens on its port any more.
    pub fn end(&self) {
        let mut child = self.child.lock().unwrap();
        // It may have ended by itself.
        let _ = child.kill();
        let _ = child.wait();
    }
}

impl Drop for RealMailServer {
    fn drop(&mut self) {
        self.end();
    }
}

fn listen() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("smtp://{}", listener.local_addr().unwrap());
    (listener, url)
}

fn talk(stream: TcpStream, refusal: &Refusal, taken: &Mutex<Vec<String>>) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream);
    reader.get_mut().write_all(b"220 ready\r\n")?;
    let mut line = String::new();
    while reader.read_line(&mut line)? > 0 {
        let verb = line.get(..4).unwrap_or_default().to_ascii_uppercase();
        refusal.heard.lock().unwrap().push(verb.clone());
        let refuses = verb == "MAIL" && refusal.refused.load(Ordering::SeqCst) < refusal.most;
        refusal.refused.fetch_add(usize::from(refuses), Ordering::SeqCst);
        let answer = match verb.as_str() {
            _ if refuses => refusal.answer,
            // Whoever has a login may be tempted.
            "EHLO" => "250-well\r\n250 AUTH PLAIN LOGIN\r\n",
            "DATA" => "354 go on\r\n",
            "QUIT" => "221 bye\r\n",
            _ => "250 well\r\n",
        };
        reader.get_mut().write_all(answer.as_bytes())?;
        if verb == "DATA" {
            let mut message = String::new();
            while !message.ends_with("\r\n.\r\n") && reader.read_line(&mut message)? > 0 {}
            taken.lock().unwrap().push(message);
            reader.get_mut().write_all(b"250 taken\r\n")?;
        }
        line.clear();
    }
    Ok(())
}
