//! A mail server: takes messages by SMTP (RFC 5321) without TLS, or does what else a test tells it to.
//!
//! Invariant: it knows as much of SMTP as a client that sends one message needs.

use std::{
    io::{BufRead, BufReader, Write},
    net::{TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

/// A mail server; it ends with the test's process.
pub struct MailServer {
    /// `smtp://ADDR`.
    pub url: String,
    messages: Arc<Mutex<Vec<String>>>,
}

impl MailServer {
    /// A server that refuses so many messages (451, try later) before it takes one.
    pub fn new(refusals: usize) -> Self {
        let (listener, url) = listen();
        let (messages, refusals) = (Arc::<Mutex<Vec<String>>>::default(), AtomicUsize::new(refusals));
        let taken = Arc::clone(&messages);
        thread::spawn(move || {
            for stream in listener.incoming() {
                // A client that goes away is the business of the test that made it go.
                let _ = talk(stream.unwrap(), &refusals, &taken);
            }
        });
        Self { url, messages }
    }

    /// A server that takes connections and never says a word.
    pub fn silent() -> Self {
        let (listener, url) = listen();
        thread::spawn(move || listener.incoming().collect::<Vec<_>>());
        Self { url, messages: Arc::default() }
    }

    /// The messages that it took, heads and bodies.
    pub fn messages(&self) -> Vec<String> {
        self.messages.lock().unwrap().clone()
    }
}

fn listen() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("smtp://{}", listener.local_addr().unwrap());
    (listener, url)
}

fn talk(stream: TcpStream, refusals: &AtomicUsize, taken: &Mutex<Vec<String>>) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream);
    reader.get_mut().write_all(b"220 ready\r\n")?;
    let mut line = String::new();
    while reader.read_line(&mut line)? > 0 {
        let verb = line.get(..4).unwrap_or_default().to_ascii_uppercase();
        let refused = verb == "MAIL"
            && refusals.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok();
        let answer = match verb.as_str() {
            _ if refused => "451 try later\r\n",
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
