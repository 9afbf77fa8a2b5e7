//! Produces a manifest and reads topics back, partitions assigned by hand.

use std::error::Error;
use std::fmt::Write as _;
use std::fs;
use std::time::Duration;

use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::{BorrowedMessage, DeliveryResult, Header, Headers, Message, OwnedHeaders};
use rdkafka::producer::{BaseRecord, Producer, ProducerContext, ThreadedProducer};
use rdkafka::{ClientContext, Offset, TopicPartitionList};
use serde_json::json;

use crate::jobs::{Job, Lines, Record, text};

/// Long enough for a busy machine; what takes longer has failed.
pub const TIMEOUT: Duration = Duration::from_secs(60);

/// Collects the failed deliveries of a producer.
#[derive(Default)]
pub struct Deliveries {
    failures: std::sync::Mutex<Vec<KafkaError>>,
}

impl ClientContext for Deliveries {}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        if let Err((error, _)) = result {
            self.failures.lock().expect("no delivery panics").push(error.clone());
        }
    }
}

/// Produces the job's manifest and waits for every acknowledgement.
pub fn produce(bootstrap: &str, job: &Job) -> Result<(), Box<dyn Error>> {
    let mut config = ClientConfig::new();
    // A linger that holds a whole partition: librdkafka sends a batch plain that does not shrink.
    config.set("bootstrap.servers", bootstrap).set("compression.type", &job.codec).set("linger.ms", "1000");
    let producer: ThreadedProducer<Deliveries> = config.create_with_context(Deliveries::default())?;
    for record in job.records()? {
        let headers = headers(&record);
        let mut out = BaseRecord::<[u8], [u8]>::to(&job.topic)
            .partition(record.partition)
            .timestamp(record.timestamp_ms)
            .headers(headers);
        out.key = record.key.as_deref();
        out.payload = record.value.as_deref();
        producer.send(out).map_err(|(error, _)| error)?;
    }
    producer.flush(TIMEOUT)?;
    match producer.context().failures.lock().expect("no delivery panics").pop() {
        Some(error) => Err(error.into()),
        None => Ok(()),
    }
}

fn headers(record: &Record) -> OwnedHeaders {
    record
        .headers
        .iter()
        .fold(OwnedHeaders::new(), |headers, (key, value)| headers.insert(Header { key, value: value.as_deref() }))
}

/// Reads the jobs' topics from their beginnings until every record is there.
pub fn consume(bootstrap: &str, jobs: &[Job]) -> Result<(), Box<dyn Error>> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", bootstrap)
        .set("group.id", "unused")
        .set("enable.auto.commit", "false")
        .set("fetch.wait.max.ms", "100")
        .create()?;
    let mut assigned = TopicPartitionList::new();
    for job in jobs {
        for topic in consumer.fetch_metadata(Some(&job.topic), TIMEOUT)?.topics() {
            for partition in topic.partitions() {
                assigned.add_partition_offset(topic.name(), partition.id(), Offset::Beginning)?;
            }
        }
    }
    consumer.assign(&assigned)?;
    let mut lines = Lines::new();
    let mut missing: usize = jobs.iter().map(|job| job.count).sum();
    while missing > 0 {
        let message = consumer.poll(TIMEOUT).ok_or_else(|| format!("{missing} records are missing"))??;
        dump(lines.entry(message.topic().to_owned()).or_default(), &message)?;
        missing -= 1;
    }
    for job in jobs {
        fs::write(&job.output, lines.remove(&job.topic).unwrap_or_default())?;
    }
    Ok(())
}

fn dump(out: &mut String, message: &BorrowedMessage<'_>) -> std::fmt::Result {
    let headers: Vec<_> = message
        .headers()
        .map(|headers| headers.iter().map(|header| json!([header.key, text(header.value)])).collect())
        .unwrap_or_default();
    let line = json!({
        "partition": message.partition(),
        "offset": message.offset(),
        "timestamp": message.timestamp().to_millis(),
        "key": text(message.key()),
        "value": text(message.payload()),
        "headers": headers,
    });
    writeln!(out, "{line}")
}
