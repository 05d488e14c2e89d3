//! What librdkafka can send and its Rust crate cannot: a header whose name is no text.

#![allow(unsafe_code)]

use std::{
    ffi::{CStr, CString},
    os::raw::c_int,
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
