//! What librdkafka can do and its Rust crate cannot: send a header whose name is no text, and let go of connections.

#![allow(unsafe_code)]

use std::{
    ffi::{CStr, CString},
    fs,
    mem::ManuallyDrop,
    net::{Shutdown, TcpStream},
    os::{fd::FromRawFd, raw::c_int},
};

use rdkafka::{
    bindings::{self as native, rd_kafka_vtype_t as kind},
    producer::{BaseProducer, Producer},
    types::RDKafkaRespErr,
};

/// Hands a message with one header to the client.
pub fn send_with_header(producer: &BaseProducer, topic: &str, value: &[u8], (name, content): (&CStr, &[u8])) {
    let topic = CString::new(topic).unwrap();
    // SAFETY: All that is pointed to lives for the length of the call, and is copied in it: the value because the flag
    // says so. Behind each kind stand the arguments that rdkafka.h names, and the list ends with `END`.
    let answer = unsafe {
        native::rd_kafka_producev(
            producer.client().native_ptr(),
            kind::RD_KAFKA_VTYPE_TOPIC as c_int,
            topic.as_ptr(),
            kind::RD_KAFKA_VTYPE_PARTITION as c_int,
            0_i32,
            kind::RD_KAFKA_VTYPE_MSGFLAGS as c_int,
            native::RD_KAFKA_MSG_F_COPY as c_int,
            kind::RD_KAFKA_VTYPE_VALUE as c_int,
            value.as_ptr(),
            value.len(),
            kind::RD_KAFKA_VTYPE_HEADER as c_int,
            name.as_ptr(),
            content.as_ptr(),
            content.len() as isize,
            kind::RD_KAFKA_VTYPE_END as c_int,
        )
    };
    assert_eq!(answer, RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR);
}

/// The connections that this process has accepted at a port, each a second time.
///
/// A mock broker's are not closed on exec: what other tests start meanwhile has them, too, and keeps them open after the
/// broker has closed its own.
pub fn connections_at(port: u16) -> Vec<TcpStream> {
    let entries = fs::read_dir("/proc/self/fd").unwrap().flatten();
    let numbers = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<c_int>().ok());
    numbers
        .filter_map(|number| {
            // SAFETY: It is only asked for its address and made a second time, and never closed here. If it is closed by
            // its owner meanwhile, or is no socket, both fail, or concern whatever has its number now.
            let socket = ManuallyDrop::new(unsafe { TcpStream::from_raw_fd(number) });
            let is_there = socket.local_addr().is_ok_and(|address| address.port() == port);
            // What listens has no peer, and would keep the port.
            let is_connection = is_there && socket.peer_addr().is_ok();
            is_connection.then(|| socket.try_clone().ok()).flatten()
        })
        .collect()
}

/// Ends connections, whoever has them.
pub fn hang_up(connections: &[TcpStream]) {
    // One that has ended already is as it should be.
    connections.iter().for_each(|connection| drop(connection.shutdown(Shutdown::Both)));
}
