//! The answer to a request: how long it is, and what a bench wants to know of it.
//!
//! Invariant: what is not HTTP is refused; nothing is guessed from a part of an answer.

use httparse::{EMPTY_HEADER, Header, Response, Status, parse_chunk_size};
use keyway_storage::limits::BENCH_ANSWER_BYTES_MAX;
use uuid::Uuid;

/// Most headers of an answer.
const HEADERS_MAX: usize = 64;

/// A whole answer.
#[derive(Debug, PartialEq, Eq)]
pub struct Answer {
    /// Its status.
    pub status: u16,
    /// Bytes of head and body.
    pub bytes: usize,
    /// Whether the connection can take another request.
    pub keeps_alive: bool,
    /// The work order that was acknowledged.
    pub work_order: Option<u128>,
}

/// The server did not answer in HTTP, or with more than a bench reads.
#[derive(Debug, PartialEq, Eq)]
pub struct Nonsense;

/// The answer at the beginning of what was read, if it is whole; `ended`: nothing more will come.
pub fn parse(read: &[u8], ended: bool) -> Result<Option<Answer>, Nonsense> {
    let mut headers = [EMPTY_HEADER; HEADERS_MAX];
    let mut response = Response::new(&mut headers);
    let head = match response.parse(read).map_err(|_| Nonsense)? {
        Status::Complete(head) => head,
        Status::Partial if read.len() > BENCH_ANSWER_BYTES_MAX => return Err(Nonsense),
        Status::Partial => return Ok(None),
    };
    let status = response.code.ok_or(Nonsense)?;
    let is_http_1_0 = response.version == Some(0);
    let header = |name: &str| value(response.headers, name);
    let connection = header("connection").unwrap_or_default();
    let closes = connection.eq_ignore_ascii_case(b"close")
        || is_http_1_0 && !connection.eq_ignore_ascii_case(b"keep-alive");
    let work_order = header("x-meta-work-order-id").and_then(|text| Uuid::try_parse_ascii(text).ok());
    let answer = |body: usize, keeps_alive: bool| {
        let work_order = work_order.map(|id| id.as_u128());
        Some(Answer { status, bytes: head + body, keeps_alive: keeps_alive && !closes, work_order })
    };
    let body = &read[head..];
    if matches!(status, 100..=199 | 204 | 304) {
        return Ok(answer(0, true));
    }
    if header("transfer-encoding").is_some_and(|coding| coding.eq_ignore_ascii_case(b"chunked")) {
        return Ok(chunks(body)?.and_then(|bytes| answer(bytes, true)));
    }
    let Some(length) = header("content-length") else {
        return Ok(if ended { answer(body.len(), false) } else { None });
    };
    let length = std::str::from_utf8(length).ok().and_then(|text| text.parse().ok()).ok_or(Nonsense)?;
    match length {
        0..=BENCH_ANSWER_BYTES_MAX if body.len() >= length => Ok(answer(length, true)),
        0..=BENCH_ANSWER_BYTES_MAX => Ok(None),
        _ => Err(Nonsense),
    }
}

fn value<'h>(headers: &[Header<'h>], name: &str) -> Option<&'h [u8]> {
    headers.iter().find(|header| header.name.eq_ignore_ascii_case(name)).map(|header| header.value)
}

/// The bytes that a body in chunks takes, if it is whole.
fn chunks(body: &[u8]) -> Result<Option<usize>, Nonsense> {
    let mut at = 0;
    loop {
        let rest = body.get(at..).unwrap_or_default();
        match parse_chunk_size(rest).map_err(|_| Nonsense)? {
            Status::Partial => return Ok(None),
            Status::Complete((_, length)) if length > BENCH_ANSWER_BYTES_MAX as u64 => return Err(Nonsense),
            // The size with its line end, the chunk, and a line end. We know of no server that sends trailers.
            Status::Complete((line, length)) => {
                at += line + length as usize + 2;
                if length == 0 {
                    return Ok((body.len() >= at).then_some(at));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Nonsense, parse};

    const ID: &str = "019aa3b0-5c1e-7d4f-8a2b-0123456789ab";

    #[test]
    fn an_answer_is_whole_at_its_last_byte() {
        let text =
            format!("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-Meta-Work-Order-Id: {ID}\r\n\r\nhelloHTTP");
        let whole = text.len() - 4;
        for end in 0..whole {
            assert_eq!(parse(&text.as_bytes()[..end], false), Ok(None), "{end}");
        }
        let answer = parse(text.as_bytes(), false).expect("it is HTTP").expect("it is whole");
        assert_eq!((answer.status, answer.bytes, answer.keeps_alive), (200, whole, true));
        assert_eq!(answer.work_order, Some(0x019a_a3b0_5c1e_7d4f_8a2b_0123_4567_89ab));
    }

    #[test]
    fn a_body_in_chunks_is_whole_at_its_last_byte() {
        let text = "HTTP/1.1 201 Created\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n";
        for end in 0..text.len() {
            assert_eq!(parse(&text.as_bytes()[..end], false), Ok(None), "{end}");
        }
        let answer = parse(text.as_bytes(), false).expect("it is HTTP").expect("it is whole");
        assert_eq!((answer.status, answer.bytes), (201, text.len()));
    }

    #[test]
    fn a_body_without_a_length_ends_with_its_connection() {
        let text = b"HTTP/1.1 200 OK\r\n\r\nhello";
        assert_eq!(parse(text, false), Ok(None));
        let answer = parse(text, true).expect("it is HTTP").expect("it is whole");
        assert!(!answer.keeps_alive);
        assert_eq!(answer.bytes, text.len());
    }

    #[test]
    fn a_connection_that_will_close_takes_no_other_request() {
        let close = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nConnection: Close\r\n\r\n";
        assert!(!parse(close, false).expect("it is HTTP").expect("it is whole").keeps_alive);
        let old = b"HTTP/1.0 200 OK\r\ncontent-length: 0\r\n\r\n";
        assert!(!parse(old, false).expect("it is HTTP").expect("it is whole").keeps_alive);
    }

    #[test]
    fn what_is_not_http_is_refused() {
        let huge = b"HTTP/1.1 200 OK\r\ncontent-length: 99999999999\r\n\r\n";
        let minus = b"HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n";
        for text in [&b"SSH-2.0-OpenSSH_9.2\r\n"[..], huge, minus] {
            assert_eq!(parse(text, false), Err(Nonsense));
        }
    }
}
