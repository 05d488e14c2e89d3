//! HTTP as it is on the wire: bytes written to a socket and read from it, so that nothing mends a request on the way.
//!
//! Invariant: a connection that says nothing for half a minute fails the test.

use std::{
    io::{self, Read, Write},
    net::TcpStream,
    path::Path,
    time::Duration,
};

use super::keyway::Keyway;

/// The header of a JSON body.
pub const JSON: &str = "content-type: application/json\r\n";

/// Runs a test against a keyway with this project, once on each runtime; it must end well.
pub fn on_both_runtimes(project: &str, flags: &[&str], test: impl Fn(&Keyway)) {
    on_both_runtimes_in(|home| std::fs::write(home.join("project.yaml"), project).unwrap(), flags, test);
}

/// The same, for a home folder that needs more than a project file.
pub fn on_both_runtimes_in(furnish: impl Fn(&Path), flags: &[&str], test: impl Fn(&Keyway)) {
    for runtime in ["io_uring", "epoll"] {
        let home = tempfile::tempdir().unwrap();
        furnish(home.path());
        let flags = [&["--runtime", runtime], flags].concat();
        let server = Keyway::start(home.path(), &flags);
        test(&server);
        assert_eq!(server.stop().code(), Some(0));
    }
}

/// A connection to the public listener.
pub fn connect(server: &Keyway) -> TcpStream {
    try_connect(server).unwrap()
}

/// The same, for a test in which the server may be gone.
pub fn try_connect(server: &Keyway) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(server.address())?;
    stream.set_read_timeout(Some(Duration::from_secs(30)))?;
    Ok(stream)
}

/// Whether the system holds nothing any more that was sent to the public listener: the process has read it all.
pub fn is_all_read(server: &Keyway) -> bool {
    let port: u16 = server.address().rsplit(':').next().unwrap().parse().unwrap();
    let port = format!(":{port:04X}");
    let sockets = std::fs::read_to_string("/proc/net/tcp").unwrap();
    // Number, its own address, the other's, state, and in hexadecimal digits what waits: bytes to be sent, and to be read.
    sockets.lines().skip(1).all(|line| {
        let fields: Vec<&str> = line.split_whitespace().take(5).collect();
        let (sending, reading) = fields[4].split_once(':').unwrap();
        let is_read = !fields[1].ends_with(&port) || reading == "00000000";
        is_read && (!fields[2].ends_with(&port) || sending == "00000000")
    })
}

/// The bytes of a request; each header ends with a line end.
pub fn request(method: &str, path: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    let length = body.len();
    let mut text =
        format!("{method} {path} HTTP/1.1\r\nhost: x\r\ncontent-length: {length}\r\n{headers}\r\n");
    if method == "GET" || method == "OPTIONS" {
        text = format!("{method} {path} HTTP/1.1\r\nhost: x\r\n{headers}\r\n");
    }
    let mut bytes = text.into_bytes();
    bytes.extend_from_slice(body);
    bytes
}

/// One answer: status, head in small letters, body.
pub fn answer(stream: &mut impl Read) -> (u16, String, String) {
    try_answer(stream).unwrap()
}

/// The same, for a test in which the server may be gone.
pub fn try_answer(stream: &mut impl Read) -> io::Result<(u16, String, String)> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        if stream.read(&mut byte)? == 0 {
            let head = String::from_utf8_lossy(&head);
            return Err(io::Error::other(format!("the connection ended: {head}")));
        }
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).unwrap().to_lowercase();
    let status = head[9..12].parse().unwrap();
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length: "))
        .map_or(0, |it| it.parse().unwrap());
    let mut body = vec![0; length];
    stream.read_exact(&mut body)?;
    Ok((status, head, String::from_utf8(body).unwrap()))
}

/// The answer to a request on a connection of its own.
pub fn ask(server: &Keyway, request: &[u8]) -> (u16, String, String) {
    let mut stream = connect(server);
    stream.write_all(request).unwrap();
    answer(&mut stream)
}
