//! What librdkafka can do and its Rust crate does not reach: batches, header names as bytes, commits with an answer, ids of
//! topics, known watermarks.
//!
//! Invariant: the only file with `unsafe`. A queue keeps its client alive, and a message borrows its queue; pointers that
//! librdkafka gives are read while the thing that owns them lives, and copied out.

#![allow(unsafe_code)]

use std::{
    ffi::{CStr, CString, c_char},
    marker::PhantomData,
    ptr, slice,
    sync::Arc,
    time::Duration,
};

use rdkafka::{
    TopicPartitionList,
    bindings::{self as native, rd_kafka_admin_op_t, rd_kafka_timestamp_type_t},
    consumer::{BaseConsumer, Consumer, ConsumerContext},
    error::{IsError, RDKafkaErrorCode},
};
use uuid::Uuid;

use super::message::Header;

/// Of another version look at `rd_kafka_msgset_reader_msg_v2`, `rd_kafka_buf_read_kbytes_varint` and
/// `rd_kafka_message_leader_epoch` before it stands here: `Message::is_bare` leans on what they do.
const _: () = assert!(native::RD_KAFKA_VERSION == 0x020c_01ff);

/// The id of a topic, or why there is none.
pub type TopicId = Result<Uuid, (RDKafkaErrorCode, String)>;

/// What became of a commit: for each partition the offset, or why it was refused.
pub type Committed = Vec<(String, i32, Result<i64, RDKafkaErrorCode>)>;

/// A queue of a client that is not its main one.
pub struct Queue<C: ConsumerContext> {
    queue: *mut native::rd_kafka_queue_t,
    client: Arc<BaseConsumer<C>>,
}

impl<C: ConsumerContext> Queue<C> {
    /// A new queue.
    pub fn new(client: &Arc<BaseConsumer<C>>) -> Self {
        // SAFETY: The client's pointer is valid while the client lives, which `client` below keeps alive.
        let queue = unsafe { native::rd_kafka_queue_new(client.client().native_ptr()) };
        assert!(!queue.is_null());
        Self { queue, client: Arc::clone(client) }
    }

    /// Sends the messages of a partition here, until it is given back. What waits elsewhere comes along, in its order.
    pub fn forward(&self, topic: &str, partition: i32) {
        let Ok(topic) = CString::new(topic) else { return };
        // SAFETY: The client and this queue live; `topic` is a C string for the length of the call. The queue of the
        // partition is counted by librdkafka, so that giving back our reference leaves the forwarding as it is.
        unsafe {
            let of = native::rd_kafka_queue_get_partition(
                self.client.client().native_ptr(),
                topic.as_ptr(),
                partition,
            );
            if !of.is_null() {
                native::rd_kafka_queue_forward(of, self.queue);
                native::rd_kafka_queue_destroy(of);
            }
        }
    }

    /// Takes up to `most` messages, as soon as there are so many or the time is over.
    pub fn take(&self, most: usize, timeout: Duration) -> Vec<Message<'_>> {
        let mut rows: Vec<*mut native::rd_kafka_message_t> = vec![ptr::null_mut(); most];
        // SAFETY: The queue lives, and `rows` has room for `most` pointers. What is returned says how many were written;
        // each is a message that is ours to destroy, once, which `Message` does.
        let count = unsafe {
            native::rd_kafka_consume_batch_queue(self.queue, millis(timeout), rows.as_mut_ptr(), most)
        };
        rows.truncate(usize::try_from(count).unwrap_or(0));
        rows.into_iter().map(|row| Message { row, queue: PhantomData }).collect()
    }

    /// Asks that offsets be committed; the answer comes to this queue.
    pub fn commit(&self, offsets: &TopicPartitionList) -> Result<(), RDKafkaErrorCode> {
        // SAFETY: Client, list and queue live; the list is copied by the call. Without a callback the answer is an event.
        let error = unsafe {
            let client = self.client.client().native_ptr();
            native::rd_kafka_commit_queue(client, offsets.ptr(), self.queue, None, ptr::null_mut())
        };
        if error.is_error() { Err(error.into()) } else { Ok(()) }
    }

    /// The answer to a commit, if it comes in time.
    pub fn committed(&self, timeout: Duration) -> Option<Committed> {
        self.event(native::RD_KAFKA_EVENT_OFFSET_COMMIT, timeout, |event| {
            // SAFETY: `event` lives until this returns, and owns its list and all that the list names.
            unsafe {
                let error = native::rd_kafka_event_error(event);
                let list = native::rd_kafka_event_topic_partition_list(event);
                if list.is_null() {
                    return Vec::new();
                }
                let answer = |index| {
                    let element = &*(*list).elems.add(index);
                    let refused = if element.err.is_error() { element.err } else { error };
                    let answer = if refused.is_error() { Err(refused.into()) } else { Ok(element.offset) };
                    (text(element.topic), element.partition, answer)
                };
                (0..usize::try_from((*list).cnt).unwrap_or(0)).map(answer).collect()
            }
        })
    }

    /// Asks this broker for the ids of topics, or the cluster's controller; the answer comes to this queue.
    pub fn describe(&self, topics: &[String], broker: Option<i32>, timeout: Duration) {
        let names: Vec<CString> =
            topics.iter().filter_map(|topic| CString::new(topic.as_str()).ok()).collect();
        let mut pointers: Vec<*const c_char> = names.iter().map(|name| name.as_ptr()).collect();
        // SAFETY: Client and queue live; the names live until the call has copied them; options and collection are made
        // and destroyed here, and librdkafka keeps neither.
        unsafe {
            let client = self.client.client().native_ptr();
            let operation = rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBETOPICS;
            let options = native::rd_kafka_AdminOptions_new(client, operation);
            native::rd_kafka_AdminOptions_set_request_timeout(options, millis(timeout), ptr::null_mut(), 0);
            if let Some(broker) = broker {
                native::rd_kafka_AdminOptions_set_broker(options, broker, ptr::null_mut(), 0);
            }
            let collection =
                native::rd_kafka_TopicCollection_of_topic_names(pointers.as_mut_ptr(), pointers.len());
            native::rd_kafka_DescribeTopics(client, collection, options, self.queue);
            native::rd_kafka_TopicCollection_destroy(collection);
            native::rd_kafka_AdminOptions_destroy(options);
        }
    }

    /// The ids of the topics that were asked for, if they come in time; of all or of none.
    pub fn described(&self, timeout: Duration) -> Option<Result<Vec<(String, TopicId)>, RDKafkaErrorCode>> {
        self.event(native::RD_KAFKA_EVENT_DESCRIBETOPICS_RESULT, timeout, |event| {
            // SAFETY: `event` is the result of a description, lives until this returns, and owns all that is read.
            unsafe {
                let error = native::rd_kafka_event_error(event);
                if error.is_error() {
                    return Err(error.into());
                }
                let result = native::rd_kafka_event_DescribeTopics_result(event);
                let mut count = 0;
                let topics = native::rd_kafka_DescribeTopics_result_topics(result, &mut count);
                Ok((0..count).map(|index| described_topic(*topics.add(index))).collect())
            }
        })
    }

    fn event<T>(
        &self,
        kind: i32,
        timeout: Duration,
        read: impl FnOnce(*mut native::rd_kafka_event_t) -> T,
    ) -> Option<T> {
        // SAFETY: The queue lives; an event that is not null is ours until it is destroyed, once, at the end.
        unsafe {
            let event = native::rd_kafka_queue_poll(self.queue, millis(timeout));
            if event.is_null() {
                return None;
            }
            let read = (native::rd_kafka_event_type(event) == kind).then(|| read(event));
            native::rd_kafka_event_destroy(event);
            read
        }
    }
}

impl<C: ConsumerContext> Drop for Queue<C> {
    fn drop(&mut self) {
        // SAFETY: Made in `new`, destroyed once, before the client that `client` keeps alive.
        unsafe { native::rd_kafka_queue_destroy(self.queue) }
    }
}

// SAFETY: The caller holds the event that owns the description.
unsafe fn described_topic(topic: *const native::rd_kafka_TopicDescription_t) -> (String, TopicId) {
    // SAFETY: Names, errors and ids belong to the description and are copied here; an error is null or valid.
    unsafe {
        let name = text(native::rd_kafka_TopicDescription_name(topic));
        let error = native::rd_kafka_TopicDescription_error(topic);
        if !error.is_null() && native::rd_kafka_error_code(error).is_error() {
            let code = native::rd_kafka_error_code(error).into();
            return (name, Err((code, text(native::rd_kafka_error_string(error)))));
        }
        let id = native::rd_kafka_TopicDescription_topic_id(topic);
        let high = native::rd_kafka_Uuid_most_significant_bits(id) as u64;
        let low = native::rd_kafka_Uuid_least_significant_bits(id) as u64;
        (name, Ok(Uuid::from_u64_pair(high, low)))
    }
}

/// A message, or an error in its place.
pub struct Message<'q> {
    row: *mut native::rd_kafka_message_t,
    queue: PhantomData<&'q ()>,
}

impl Message<'_> {
    fn row(&self) -> &native::rd_kafka_message_t {
        // SAFETY: A message that was taken and is destroyed only with `self`.
        unsafe { &*self.row }
    }

    /// What stands in the place of a message.
    pub fn error(&self) -> Option<(RDKafkaErrorCode, String)> {
        let error = self.row().err;
        // SAFETY: The text belongs to the message.
        error.is_error().then(|| (error.into(), unsafe { text(native::rd_kafka_message_errstr(self.row)) }))
    }

    /// Which partition of which topic it is of: the same for two messages that live at the same time.
    pub fn source(&self) -> (usize, i32) {
        (self.row().rkt.addr(), self.row().partition)
    }

    /// Its topic.
    pub fn topic(&self) -> &str {
        if self.row().rkt.is_null() {
            return "";
        }
        // SAFETY: A message keeps its topic, and the topic its name; names of topics are ASCII.
        unsafe { CStr::from_ptr(native::rd_kafka_topic_name(self.row().rkt)) }.to_str().unwrap_or_default()
    }

    /// Its partition.
    pub fn partition(&self) -> i32 {
        self.row().partition
    }

    /// Its offset.
    pub fn offset(&self) -> u64 {
        u64::try_from(self.row().offset).unwrap_or(0)
    }

    /// The epoch of the leader that took it in; -1 if the broker tells none.
    pub fn epoch(&self) -> i32 {
        // SAFETY: A message that was taken and lives.
        unsafe { native::rd_kafka_message_leader_epoch(self.row) }
    }

    /// Its key; null is not empty.
    pub fn key(&self) -> Option<&[u8]> {
        // SAFETY: Key and its length belong together and to the message.
        unsafe { bytes(self.row().key.cast(), self.row().key_len) }
    }

    /// Its value; null is not empty.
    pub fn payload(&self) -> Option<&[u8]> {
        // SAFETY: Value and its length belong together and to the message.
        unsafe { bytes(self.row().payload.cast(), self.row().len) }
    }

    /// Its time in milliseconds since 1970, if it has one.
    pub fn timestamp(&self) -> Option<i64> {
        let mut kind = rd_kafka_timestamp_type_t::RD_KAFKA_TIMESTAMP_NOT_AVAILABLE;
        // SAFETY: The message lives, and `kind` is written once.
        let time = unsafe { native::rd_kafka_message_timestamp(self.row, &mut kind) };
        (time >= 0).then_some(time)
    }

    /// Whether it has no headers, where that is seen without librdkafka: it takes a buffer of its own to look for them in each
    /// message that nobody gave any, a fifth of the consumer's time.
    fn is_bare(&self) -> bool {
        let row = self.row();
        // Only records of Kafka's message format 2 have an epoch. Behind a record's value stands the number of its headers, a
        // byte at least, and librdkafka leaves a value in the record as it was fetched or unpacked; but for an empty one.
        if row.len == 0 || self.epoch() < 0 {
            return false;
        }
        // SAFETY: As it says above: the byte is of the record, which lives as long as the message.
        unsafe { row.payload.cast::<u8>().add(row.len).read() == 0 }
    }

    /// Its headers, in their order; names may repeat.
    pub fn headers(&self) -> Vec<Header<'_>> {
        let mut found = Vec::new();
        if self.is_bare() {
            return found;
        }
        let mut headers = ptr::null_mut();
        // SAFETY: Headers, names and values belong to the message; each is written before it is read, which the return
        // value says. Names are C strings.
        unsafe {
            if native::rd_kafka_message_headers(self.row, &mut headers).is_error() {
                return found;
            }
            let (mut name, mut value, mut length) = (ptr::null(), ptr::null(), 0);
            while !native::rd_kafka_header_get_all(headers, found.len(), &mut name, &mut value, &mut length)
                .is_error()
            {
                found.push((CStr::from_ptr(name).to_bytes(), bytes(value.cast(), length)));
            }
        }
        found
    }
}

impl Drop for Message<'_> {
    fn drop(&mut self) {
        // SAFETY: Taken once, destroyed once.
        unsafe { native::rd_kafka_message_destroy(self.row) }
    }
}

/// Notes in a list of which leader epoch the last message before a partition's offset is.
pub fn set_epoch(list: &TopicPartitionList, topic: &str, partition: i32, epoch: i32) {
    if let Some(element) = element(list, topic, partition) {
        // SAFETY: It is an element of the list, which nobody else reads or writes meanwhile: it is not shared between threads.
        unsafe { native::rd_kafka_topic_partition_set_leader_epoch(element, epoch) }
    }
}

/// The leader epoch that a list has of a partition, of the last message before its offset.
pub fn epoch(list: &TopicPartitionList, topic: &str, partition: i32) -> Option<i32> {
    let element = element(list, topic, partition)?;
    // SAFETY: It is an element of the list.
    let epoch = unsafe { native::rd_kafka_topic_partition_get_leader_epoch(element) };
    (epoch >= 0).then_some(epoch)
}

/// What a list has of a partition, as long as the list lives and gets no other elements.
fn element(
    list: &TopicPartitionList,
    topic: &str,
    partition: i32,
) -> Option<*mut native::rd_kafka_topic_partition_t> {
    let topic = CString::new(topic).ok()?;
    let (list, name) = (list.ptr(), topic.as_ptr());
    // SAFETY: List and `topic` live for the length of the call.
    let element = unsafe { native::rd_kafka_topic_partition_list_find(list, name, partition) };
    (!element.is_null()).then_some(element)
}

/// Commits offsets, and waits for the answer no longer than this.
pub fn commit_within<C: ConsumerContext>(
    client: &BaseConsumer<C>,
    offsets: &TopicPartitionList,
    timeout: Duration,
) {
    // SAFETY: The client outlives the call, the list is copied by it, and the queue is made and destroyed here; an answer
    // that comes later finds it gone, which librdkafka allows for.
    unsafe {
        let client = client.client().native_ptr();
        let queue = native::rd_kafka_queue_new(client);
        let error = native::rd_kafka_commit_queue(client, offsets.ptr(), queue, None, ptr::null_mut());
        if !error.is_error() {
            let event = native::rd_kafka_queue_poll(queue, millis(timeout));
            if !event.is_null() {
                native::rd_kafka_event_destroy(event);
            }
        }
        native::rd_kafka_queue_destroy(queue);
    }
}

/// How many errors, log lines and assignments wait to be looked at.
pub fn events_waiting<C: ConsumerContext>(client: &BaseConsumer<C>) -> usize {
    // SAFETY: The client lives, and its own queue is counted: the reference is given back after the look.
    unsafe {
        let queue = native::rd_kafka_queue_get_consumer(client.client().native_ptr());
        if queue.is_null() {
            return 0;
        }
        let length = native::rd_kafka_queue_length(queue);
        native::rd_kafka_queue_destroy(queue);
        length
    }
}

/// The lowest and the highest offset of a partition as far as fetching has shown them.
pub fn watermarks<C: ConsumerContext>(
    client: &BaseConsumer<C>,
    topic: &str,
    partition: i32,
) -> Option<(i64, i64)> {
    let topic = CString::new(topic).ok()?;
    let (mut low, mut high) = (0, 0);
    // SAFETY: The client lives, `topic` is a C string, and both numbers are written when there is no error.
    let error = unsafe {
        let client = client.client().native_ptr();
        native::rd_kafka_get_watermark_offsets(client, topic.as_ptr(), partition, &mut low, &mut high)
    };
    (!error.is_error() && high >= 0).then_some((low, high))
}

// SAFETY: The caller's pointer is null, or valid for `length` bytes as long as what it was taken from.
unsafe fn bytes<'a>(start: *const u8, length: usize) -> Option<&'a [u8]> {
    // SAFETY: It is not null here, and the rest is the caller's promise.
    (!start.is_null()).then(|| unsafe { slice::from_raw_parts(start, length) })
}

// SAFETY: The caller's pointer is null or a C string.
unsafe fn text(start: *const c_char) -> String {
    if start.is_null() {
        return String::new();
    }
    // SAFETY: It is not null here, and the rest is the caller's promise.
    unsafe { CStr::from_ptr(start) }.to_string_lossy().into_owned()
}

fn millis(duration: Duration) -> i32 {
    i32::try_from(duration.as_millis()).unwrap_or(i32::MAX)
}
