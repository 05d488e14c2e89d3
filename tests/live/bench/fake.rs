//! A fake server for loads: keeps its connections, and answers what a test says.
//!
//! Invariant: it knows nothing of keyway, so that a bench cannot look right only because both make the same mistake.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
};

/// What a test answers to a request line, such as `POST /i/a`; the number counts the posts before it.
pub type Answers = dyn Fn(&str, u64) -> Vec<u8> + Send + Sync;

/// A server; it ends with the test's process.
pub struct Fake {
    pub url: String,
}

impl Fake {
    pub fn new(answers: impl Fn(&str, u64) -> Vec<u8> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (answers, count): (Arc<Answers>, _) = (Arc::new(answers), Arc::new(AtomicU64::new(0)));
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (answers, count) = (answers.clone(), count.clone());
                // A peer that went away is the business of the test that made it go.
                thread::spawn(move || serve(stream.unwrap(), &*answers, &count).ok());
            }
        });
        Self { url }
    }
}

fn serve(stream: TcpStream, answers: &Answers, count: &AtomicU64) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut reader = BufReader::new(stream);
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Ok(());
        }
        let mut length = 0;
        loop {
            let mut header = String::new();
            reader.read_line(&mut header)?;
            let Some((name, value)) = header.trim_end().split_once(": ") else { break };
            if name.eq_ignore_ascii_case("content-length") {
                length = value.parse().unwrap();
            }
        }
        reader.read_exact(&mut vec![0; length])?;
        let line = line.trim_end().trim_end_matches(" HTTP/1.1");
        let posts = count.fetch_add(u64::from(line.starts_with("POST ")), Ordering::Relaxed);
        let answer = answers(line, posts);
        reader.get_mut().write_all(&answer)?;
    }
}

/// An answer as it is on the wire; each header ends with a line end.
pub fn answer(status: u16, headers: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!("HTTP/1.1 {status} Whatever\r\ncontent-length: {length}\r\n{headers}\r\n{body}").into_bytes()
}
