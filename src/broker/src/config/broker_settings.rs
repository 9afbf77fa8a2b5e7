//! The broker's settings that do something, will do something, or refuse some of Kafka's values.
//! The rest of Kafka's names is in `kafka_settings`.

use super::setting::Bounds::{Any, AtLeast, ListOf, OneOf, Range, UpTo};
use super::setting::Kind::{Boolean, Class, Double, Int, List, Long, String};
use super::setting::{Bounds, Kind, Setting};

const fn set(name: &'static str, kind: Kind, default: Option<&'static str>, bounds: Bounds) -> Setting {
    Setting::known(name, kind, default, bounds)
}

/// In the order in which the settings page shows them.
pub(super) const BROKER_SETTINGS: &[Setting] = &[
    // Where it listens and lives.
    set("listeners", List, Some("PLAINTEXT://127.0.0.1:9092"), Any)
        .doc("Addresses to serve clients on, NAME://HOST:PORT; an empty host is every address of the machine."),
    set("advertised.listeners", List, None, Any)
        .doc("Addresses that clients are told, by listener name; without one, the address that the client used."),
    set("listener.security.protocol.map", String, Some("PLAINTEXT:PLAINTEXT"), Any)
        .doc("The protocol of each listener name; a listener that is opened can only be PLAINTEXT."),
    set("controller.listener.names", List, None, Any)
        .doc("Listeners of these names are not opened: the controller is inside the broker."),
    set("log.dirs", List, None, Any).doc("The log directories; a partition lies in one of them. Takes precedence over log.dir."),
    set("log.dir", List, Some("./data"), Any).doc("The directory for all data."),
    set("node.id", Int, Some("1"), AtLeast(0)).doc("This broker's id; a data directory keeps the one it began with."),
    set("broker.id", Int, Some("-1"), Any).doc("The older name of node.id; if both are set they must agree."),
    set("broker.rack", String, None, Any).doc("What Metadata says about where this broker stands."),
    set("process.roles", List, Some("broker,controller"), ListOf(&["broker", "controller"]))
        .doc("Must have the broker role; the controller is always inside."),
    set("controller.quorum.voters", List, Some(""), Any).doc("At most one voter: this broker."),
    set("controller.quorum.bootstrap.servers", List, Some(""), Any).doc("At most one address: this broker's."),
    set("corelog.admin.listener", String, Some("127.0.0.1:9644"), Any)
        .doc("HOST:PORT of the HTTP server for metrics and health; empty for none."),
    // Topics.
    set("auto.create.topics.enable", Boolean, Some("true"), Any)
        .doc("Whether a topic comes into being when a client that allows it asks for its metadata."),
    set("delete.topic.enable", Boolean, Some("true"), Any).doc("Whether clients may delete topics."),
    set("num.partitions", Int, Some("1"), Range(1, 10_000)).doc("The partitions of a topic that does not say how many."),
    set("default.replication.factor", Int, Some("1"), Any)
        .doc("The replicas of a topic that does not say how many.")
        .only(&["1"]),
    set("min.insync.replicas", Int, Some("1"), AtLeast(1))
        .dynamic()
        .doc("Replicas that must have a record for acks=all, at most as many as the topic has."),
    // Records.
    set("message.max.bytes", Int, Some("1048588"), AtLeast(0)).dynamic().doc("The largest record batch that is accepted."),
    set("compression.type", String, Some("producer"), OneOf(CODECS))
        .dynamic()
        .doc("Batches are kept as the producer compressed them.")
        .only(&["producer"]),
    set("log.message.timestamp.type", String, Some("CreateTime"), OneOf(TIMESTAMP_TYPES))
        .dynamic()
        .doc("Whether a record has its producer's time or the time of its append."),
    set("log.message.timestamp.before.max.ms", Long, Some("9223372036854775807"), AtLeast(0))
        .dynamic()
        .doc("How far in the past a producer's timestamp may lie."),
    set("log.message.timestamp.after.max.ms", Long, Some("3600000"), AtLeast(0))
        .dynamic()
        .doc("How far in the future a producer's timestamp may lie."),
    set("producer.id.expiration.ms", Int, Some("86400000"), AtLeast(1))
        .dynamic()
        .doc("How long a silent producer's sequence numbers are remembered."),
    // Groups.
    set("offsets.topic.num.partitions", Int, Some("50"), Range(1, 10_000))
        .doc("The partitions of __consumer_offsets, which is created when the first group needs it."),
    set("offsets.topic.segment.bytes", Int, Some("104857600"), AtLeast(1 << 20))
        .doc("The size at which a new segment of __consumer_offsets begins."),
    set("offsets.retention.minutes", Int, Some("10080"), AtLeast(1))
        .doc("How long committed offsets stay once a group has no members."),
    set("offsets.retention.check.interval.ms", Long, Some("600000"), AtLeast(1))
        .doc("How often offsets are looked for that need not stay."),
    set("offset.metadata.max.bytes", Int, Some("4096"), AtLeast(0))
        .doc("The largest text that a client may commit with an offset."),
    set("group.initial.rebalance.delay.ms", Int, Some("3000"), AtLeast(0))
        .doc("How long a group that was empty waits for more members."),
    set("group.min.session.timeout.ms", Int, Some("6000"), AtLeast(0)).doc("The shortest session that a member may ask for."),
    set("group.max.session.timeout.ms", Int, Some("1800000"), AtLeast(0)).doc("The longest session that a member may ask for."),
    set("group.max.size", Int, Some("2147483647"), AtLeast(1)).doc("How many members a group may have."),
    // Storage.
    set("log.segment.bytes", Int, Some("1073741824"), AtLeast(1 << 20))
        .dynamic()
        .doc("The size at which a new segment begins."),
    set("corelog.flush", String, Some("disk"), OneOf(&["disk", "device"]))
        .doc("When a record counts as written: on stable storage, or in the device, for disks that keep it through a power cut.")
        .only(&["disk"]),
    set("corelog.read.cache.bytes", Long, Some("-1"), AtLeast(-1))
        .doc("Memory for recently written and read data; -1 is a quarter of what the process may have."),
    set("log.roll.ms", Long, None, AtLeast(1))
        .dynamic()
        .doc("The age at which a new segment begins; takes precedence over hours."),
    set("log.roll.hours", Int, Some("168"), AtLeast(1)).doc("The age at which a new segment begins."),
    set("log.index.interval.bytes", Int, Some("4096"), AtLeast(0)).dynamic().doc(INDEX_INTERVAL),
    set("log.cleanup.policy", List, Some("delete"), ListOf(CLEANUP_POLICIES)).dynamic().doc(CLEANUP),
    set("log.retention.ms", Long, None, Any)
        .dynamic()
        .doc("How long records are kept; takes precedence over minutes and hours."),
    set("log.retention.minutes", Int, None, Any).doc("How long records are kept; takes precedence over hours."),
    set("log.retention.hours", Int, Some("168"), Any).doc("How long records are kept."),
    set("log.retention.bytes", Long, Some("-1"), Any).dynamic().doc("How much of a partition is kept."),
    set("log.retention.check.interval.ms", Long, Some("300000"), AtLeast(1)).doc("How often retention is looked after."),
    set("corelog.retention.min.free.bytes", Long, Some("0"), AtLeast(0))
        .doc("With less free space than this the oldest segments of topics with cleanup.policy=delete go early; 0: never."),
    set("log.cleaner.backoff.ms", Long, Some("15000"), AtLeast(1))
        .dynamic()
        .doc("How often compaction looks for what it can do."),
    set("log.cleaner.dedupe.buffer.size", Long, Some("134217728"), AtLeast(1 << 20))
        .dynamic()
        .doc("Memory for the keys of compactions, over all shards."),
    set("log.cleaner.io.max.bytes.per.second", Double, Some("1.7976931348623157E308"), AtLeast(1))
        .dynamic()
        .doc("What compactions read and write in a second at most, over all shards."),
    set("log.cleaner.min.cleanable.ratio", Double, Some("0.5"), UpTo(1.0)).dynamic().doc(DIRTY_RATIO),
    set("log.cleaner.min.compaction.lag.ms", Long, Some("0"), AtLeast(0)).dynamic().doc(MIN_LAG),
    set("log.cleaner.max.compaction.lag.ms", Long, Some("9223372036854775807"), AtLeast(1)).dynamic().doc(MAX_LAG),
    set("log.cleaner.delete.retention.ms", Long, Some("86400000"), AtLeast(0)).dynamic().doc(TOMBSTONES),
    // Connections and requests.
    set("connections.max.idle.ms", Long, Some("600000"), Any).doc("How long a silent connection stays open."),
    set("socket.request.max.bytes", Int, Some("104857600"), AtLeast(1)).doc("The largest request that is read."),
    set("queued.max.request.bytes", Long, Some("-1"), Any)
        .doc("Memory for requests that are being read or served; -1 leaves it to the broker."),
    set("fetch.max.bytes", Int, Some("57671680"), AtLeast(1024)).doc("The most that one fetch is answered with."),
    set("max.incremental.fetch.session.cache.slots", Int, Some("1000"), AtLeast(0))
        .doc("How many fetch sessions are remembered."),
    // Behaviours that are not here: only the value that does without them is taken.
    set("authorizer.class.name", String, Some(""), Any).doc(NO_CLASSES).only(&[""]),
    set("create.topic.policy.class.name", Class, None, Any).doc(NO_CLASSES).only(&[""]),
    set("alter.config.policy.class.name", Class, None, Any).doc(NO_CLASSES).only(&[""]),
    set("client.quota.callback.class", Class, None, Any).doc(NO_CLASSES).only(&[""]),
    set("config.providers", List, Some(""), Any).doc(NO_CLASSES).only(&[""]),
    set("security.inter.broker.protocol", String, Some("PLAINTEXT"), OneOf(PROTOCOLS))
        .doc("How brokers speak to each other.")
        .only(&["PLAINTEXT"]),
    set("remote.log.storage.system.enable", Boolean, Some("false"), Any).doc("Tiered storage.").only(&["false"]),
    set("unclean.leader.election.enable", Boolean, Some("false"), Any)
        .dynamic()
        .doc("Whether a replica that lacks acknowledged records may lead.")
        .only(&["false"]),
    set("transaction.two.phase.commit.enable", Boolean, Some("false"), Any)
        .doc("Transactions that an outside coordinator decides.")
        .only(&["false"]),
];

pub(super) const CODECS: &[&str] = &["uncompressed", "zstd", "lz4", "snappy", "gzip", "producer"];
pub(super) const TIMESTAMP_TYPES: &[&str] = &["CreateTime", "LogAppendTime"];
pub(super) const CLEANUP_POLICIES: &[&str] = &["compact", "delete"];
pub(super) const CLEANUP: &str =
    "Which old records go: delete, those beyond the retention; compact, those with a later one of their key.";
pub(super) const INDEX_INTERVAL: &str = "At most about so much of a segment lies between two entries of its index.";
pub(super) const DIRTY_RATIO: &str = "Compaction begins when this share of the log is not compacted.";
pub(super) const MIN_LAG: &str = "Younger records are not compacted.";
pub(super) const MAX_LAG: &str =
    "Compaction begins when a record that is not compacted is this old, whatever the ratio.";
pub(super) const TOMBSTONES: &str = "How long a record without a value is kept in a compacted log.";
const PROTOCOLS: &[&str] = &["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"];
const NO_CLASSES: &str = "Code of one's own inside the broker: there is none.";
