//! HTTP/2 as a client speaks it, with TLS or without.
//!
//! Invariant: a client runs on the calling thread and ends with the call.

use std::{future::Future, sync::Arc};

use bytes::Bytes;
use h2::{
    SendStream,
    client::{ResponseFuture, SendRequest},
};
use hyper::{HeaderMap, Request, StatusCode};
use keyway_storage::limits::HTTP2_STREAMS_MAX;
use rustls::ClientConfig;
use tokio::{net::TcpStream, runtime::Builder};
use tokio_rustls::TlsConnector;

use super::{keyway::Keyway, tls};

/// Most bytes of an answer that a client takes in before it is read.
const WINDOW_BYTES: u32 = 8 << 20;

/// An answer, whole.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: String,
}

/// Runs a client.
pub fn run<T>(client: impl Future<Output = T>) -> T {
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    tokio::task::LocalSet::new().block_on(&runtime, client)
}

/// A connection; with a TLS client its handshake must end in HTTP/2.
pub async fn connect(server: &Keyway, tls: Option<Arc<ClientConfig>>) -> SendRequest<Bytes> {
    let stream = TcpStream::connect(server.address()).await.unwrap();
    let mut builder = h2::client::Builder::new();
    builder.initial_window_size(WINDOW_BYTES).initial_connection_window_size(WINDOW_BYTES);
    // Until the server has said how many it takes, not more than every server does.
    builder.initial_max_send_streams(HTTP2_STREAMS_MAX as usize);
    match tls {
        None => {
            let (client, connection) = builder.handshake(stream).await.unwrap();
            tokio::task::spawn_local(connection);
            client
        }
        Some(config) => {
            let stream = TlsConnector::from(config).connect(tls::name(), stream).await.unwrap();
            assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
            let (client, connection) = builder.handshake(stream).await.unwrap();
            tokio::task::spawn_local(connection);
            client
        }
    }
}

/// Sends a request with these headers, and gives its answer.
pub async fn ask(
    client: &SendRequest<Bytes>,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: impl Into<Bytes>,
) -> Result<Answer, h2::Error> {
    let mut body: Bytes = body.into();
    let (answer, mut stream) = begin(client, method, path, headers, body.is_empty()).await?;
    while !body.is_empty() {
        stream.reserve_capacity(body.len());
        let Some(room) = std::future::poll_fn(|cx| stream.poll_capacity(cx)).await else { break };
        let piece = body.split_to(room?.min(body.len()));
        stream.send_data(piece, body.is_empty())?;
    }
    whole(answer).await
}

/// Sends the head of a request, and nothing of its body.
pub async fn begin(
    client: &SendRequest<Bytes>,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    is_whole: bool,
) -> Result<(ResponseFuture, SendStream<Bytes>), h2::Error> {
    let mut request = Request::builder().method(method).uri(format!("https://localhost{path}"));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let mut client = client.clone().ready().await?;
    client.send_request(request.body(()).unwrap(), is_whole)
}

/// The answer to a request, whole.
pub async fn whole(answer: ResponseFuture) -> Result<Answer, h2::Error> {
    let (head, mut data) = answer.await?.into_parts();
    let mut bytes = Vec::new();
    while let Some(piece) = data.data().await {
        let piece = piece?;
        data.flow_control().release_capacity(piece.len())?;
        bytes.extend_from_slice(&piece);
    }
    Ok(Answer { status: head.status, headers: head.headers, body: String::from_utf8(bytes).unwrap() })
}
