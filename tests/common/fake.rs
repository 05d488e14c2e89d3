//! A fake server: answers what a test told it to, and remembers what it was asked.
//!
//! Invariant: it answers one request per connection and knows nothing of keyway.

use std::{
    collections::HashMap,
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
};

/// One request that came in.
#[derive(Debug, Clone)]
pub struct Asked {
    /// Method, path and query.
    pub line: String,
    /// Names in lower case.
    pub headers: HashMap<String, String>,
    pub body: String,
}

/// A server of canned answers; it ends with the test's process.
pub struct Fake {
    pub url: String,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Fake {
    /// A server that answers `METHOD /path?query` with a status and a body; anything else is 404.
    pub fn new(answers: &[(&str, u16, String)]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let asked = Arc::new(Mutex::new(Vec::new()));
        let answers: HashMap<_, _> = answers
            .iter()
            .map(|(line, status, body)| ((*line).to_owned(), (*status, body.clone())))
            .collect();
        let log = asked.clone();
        thread::spawn(move || {
            for stream in listener.incoming() {
                // A peer that went away is the business of the test that made it go.
                let _ = answer(stream.unwrap(), &answers, &log);
            }
        });
        Self { url, asked }
    }

    /// What was asked so far.
    pub fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }
}

fn answer(
    stream: TcpStream,
    answers: &HashMap<String, (u16, String)>,
    log: &Mutex<Vec<Asked>>,
) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream);
    let mut first = String::new();
    reader.read_line(&mut first)?;
    let line = first.trim_end().trim_end_matches(" HTTP/1.1").to_owned();
    let mut headers = HashMap::new();
    loop {
        let mut header = String::new();
        reader.read_line(&mut header)?;
        let Some((name, value)) = header.trim_end().split_once(':') else { break };
        headers.insert(name.to_lowercase(), value.trim().to_owned());
    }
    let length = headers.get("content-length").map_or(0, |length| length.parse().unwrap());
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    let missing = (404, r#"{"error":"not_found","message":"There is no such thing."}"#.to_owned());
    let (status, answer) = answers.get(&line).unwrap_or(&missing);
    log.lock().unwrap().push(Asked { line, headers, body: String::from_utf8(body).unwrap() });
    let stream = reader.get_mut();
    write!(
        stream,
        "HTTP/1.1 {status} Whatever\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
        answer.len()
    )?;
    stream.write_all(answer.as_bytes())
}
