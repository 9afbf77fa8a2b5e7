//! What a Rust program is told when it asks for too much; one line of output a check.

use std::error::Error;
use std::sync::mpsc;
use std::time::Duration;

use rdkafka::ClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::DeliveryResult;
use rdkafka::producer::{BaseRecord, Producer, ProducerContext, ThreadedProducer};

use crate::client::TIMEOUT;
use crate::jobs::Arguments;

type Outcome = Result<(), Box<dyn Error>>;

/// Runs every check; none stops the others.
pub fn run(arguments: &Arguments) {
    let client = Client { bootstrap: &arguments.bootstrap, topic: format!("{}-rdkafka", arguments.prefix) };
    report("gets a topic created by producing to it", client.acks("all", Some(0)));
    report("produces with acks 1", client.acks("1", Some(1)));
    report("produces with acks 0", client.acks("0", None));
    report("produces with idempotence", client.idempotent());
    report("reads watermarks", client.watermarks());
    report("is told that a record is too large", client.too_large());
    report("is told that a topic is unknown", client.unknown());
    if arguments.corelog {
        report("is refused a transactional producer for good", client.transaction());
    }
}

fn report(name: &str, outcome: Outcome) {
    match outcome {
        Ok(()) => println!("ok {name}"),
        Err(error) => println!("FAIL {name}: {}", error.to_string().replace('\n', " ")),
    }
}

/// Hands the one delivery report of a producer on.
struct Report(mpsc::Sender<Result<i64, KafkaError>>);

impl ClientContext for Report {}

impl ProducerContext for Report {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        use rdkafka::Message;
        let result = match result {
            Ok(message) => Ok(message.offset()),
            Err((error, _)) => Err(error.clone()),
        };
        // The receiver is gone only when the check has given up.
        let _ = self.0.send(result);
    }
}

struct Client<'a> {
    bootstrap: &'a str,
    topic: String,
}

impl Client<'_> {
    /// Produces one record to partition 0 and returns its offset.
    fn send(&self, topic: &str, value: &[u8], settings: &[(&str, &str)]) -> Result<i64, Box<dyn Error>> {
        let (sender, receiver) = mpsc::channel();
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", self.bootstrap);
        for (name, value) in settings {
            config.set(*name, *value);
        }
        let producer: ThreadedProducer<Report> = config.create_with_context(Report(sender))?;
        producer.send(BaseRecord::<[u8], [u8]>::to(topic).partition(0).payload(value)).map_err(|(error, _)| error)?;
        producer.flush(TIMEOUT)?;
        Ok(receiver.recv_timeout(Duration::ZERO)??)
    }

    /// Produces one record, which must fail with `wanted`.
    fn refused(&self, topic: &str, value: &[u8], settings: &[(&str, &str)], wanted: RDKafkaErrorCode) -> Outcome {
        match self.send(topic, value, settings) {
            Ok(offset) => Err(format!("taken at offset {offset}").into()),
            Err(error) => match error.downcast_ref::<KafkaError>().and_then(KafkaError::rdkafka_error_code) {
                Some(code) if code == wanted => Ok(()),
                _ => Err(error),
            },
        }
    }

    fn acks(&self, acks: &str, wanted: Option<i64>) -> Outcome {
        let offset = self.send(&self.topic, b"x", &[("acks", acks)])?;
        match wanted {
            Some(wanted) => equal(offset, wanted),
            None => self.ends_at(3),
        }
    }

    /// Waits until partition 0 ends there: nothing says when acks=0 is done.
    // A client program may sleep: no shard waits with it.
    #[allow(clippy::disallowed_methods)]
    fn ends_at(&self, wanted: i64) -> Outcome {
        let consumer: BaseConsumer = ClientConfig::new().set("bootstrap.servers", self.bootstrap).create()?;
        for _ in 0..100 {
            if consumer.fetch_watermarks(&self.topic, 0, TIMEOUT)?.1 == wanted {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        Err("what was sent with acks=0 is not there".into())
    }

    fn idempotent(&self) -> Outcome {
        equal(self.send(&self.topic, b"x", &[("enable.idempotence", "true")])?, 3)
    }

    fn watermarks(&self) -> Outcome {
        let consumer: BaseConsumer = ClientConfig::new().set("bootstrap.servers", self.bootstrap).create()?;
        equal(consumer.fetch_watermarks(&self.topic, 0, TIMEOUT)?, (0, 4))
    }

    fn too_large(&self) -> Outcome {
        let settings = [("message.max.bytes", "5000000")];
        self.refused(&self.topic, &vec![b'x'; 2_000_000], &settings, RDKafkaErrorCode::MessageSizeTooLarge)
    }

    fn unknown(&self) -> Outcome {
        let settings = [("allow.auto.create.topics", "false"), ("topic.metadata.propagation.max.ms", "1000")];
        let topic = format!("{}-unknown", self.topic);
        self.refused(&topic, b"x", &settings, RDKafkaErrorCode::UnknownTopic)
            .or_else(|_| self.refused(&topic, b"x", &settings, RDKafkaErrorCode::UnknownTopicOrPartition))
    }

    fn transaction(&self) -> Outcome {
        let (sender, _receiver) = mpsc::channel();
        let producer: ThreadedProducer<Report> = ClientConfig::new()
            .set("bootstrap.servers", self.bootstrap)
            .set("transactional.id", &self.topic)
            .create_with_context(Report(sender))?;
        match producer.init_transactions(Duration::from_secs(20)) {
            Ok(()) => Err("a transactional producer was let in".into()),
            Err(KafkaError::Transaction(error)) if error.is_fatal() => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

fn equal<T: PartialEq + std::fmt::Debug>(actual: T, wanted: T) -> Outcome {
    if actual == wanted { Ok(()) } else { Err(format!("{actual:?} instead of {wanted:?}").into()) }
}
