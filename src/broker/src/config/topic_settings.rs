//! A topic's settings, and from which broker setting each takes its value where the topic has none of its own.

use super::broker_settings::{
    CLEANUP, CLEANUP_POLICIES, CODECS, DIRTY_RATIO, INDEX_INTERVAL, MAX_LAG, MIN_LAG, TIMESTAMP_TYPES, TOMBSTONES,
};
use super::setting::Bounds::{self, Any, AtLeast, ListOf, OneOf, Range, UpTo};
use super::setting::Kind::{self, Boolean, Double, Int, List, Long, String};
use super::setting::Setting;

/// A topic's setting.
#[derive(Clone, Copy, Debug)]
pub struct TopicSetting {
    /// The setting.
    pub setting: Setting,
    /// The broker's settings that it falls back to, first come first.
    pub synonyms: &'static [Synonym],
}

/// A broker's setting that a topic's falls back to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Synonym {
    /// Its name.
    pub name: &'static str,
    /// What its value is multiplied by to have the topic's unit.
    pub factor: i64,
}

const fn set(
    name: &'static str,
    kind: Kind,
    default: Option<&'static str>,
    bounds: Bounds,
    synonyms: &'static [Synonym],
) -> TopicSetting {
    TopicSetting { setting: Setting::known(name, kind, default, bounds), synonyms }
}

impl TopicSetting {
    /// The names of those settings.
    pub(super) fn synonym_names(&self) -> impl Iterator<Item = &'static str> + Clone + use<> {
        self.synonyms.iter().map(|synonym| synonym.name)
    }

    const fn doc(mut self, doc: &'static str) -> TopicSetting {
        self.setting = self.setting.doc(doc);
        self
    }

    const fn only(mut self, values: &'static [&'static str]) -> TopicSetting {
        self.setting = self.setting.only(values);
        self
    }
}

macro_rules! from {
    ($($name:literal),*) => { &[$(Synonym { name: $name, factor: 1 }),*] };
}

/// In the order of their names.
pub(super) const TOPIC_SETTINGS: &[TopicSetting] = &[
    set("cleanup.policy", List, Some("delete"), ListOf(CLEANUP_POLICIES), from!("log.cleanup.policy")).doc(CLEANUP),
    set("compression.gzip.level", Int, Some("-1"), Range(-1, 9), from!("compression.gzip.level")),
    set("compression.lz4.level", Int, Some("9"), Range(1, 17), from!("compression.lz4.level")),
    set("compression.type", String, Some("producer"), OneOf(CODECS), from!("compression.type"))
        .doc("Batches are kept as the producer compressed them.")
        .only(&["producer"]),
    set("compression.zstd.level", Int, Some("3"), Range(-131_072, 22), from!("compression.zstd.level")),
    set("delete.retention.ms", Long, Some("86400000"), AtLeast(0), from!("log.cleaner.delete.retention.ms"))
        .doc(TOMBSTONES),
    set("file.delete.delay.ms", Long, Some("60000"), AtLeast(0), from!("log.segment.delete.delay.ms")),
    set("flush.messages", Long, Some("9223372036854775807"), AtLeast(1), from!("log.flush.interval.messages")),
    set(
        "flush.ms",
        Long,
        Some("9223372036854775807"),
        AtLeast(0),
        from!("log.flush.interval.ms", "log.flush.scheduler.interval.ms"),
    ),
    set("follower.replication.throttled.replicas", List, Some(""), Any, &[]),
    set("index.interval.bytes", Int, Some("4096"), AtLeast(0), from!("log.index.interval.bytes")).doc(INDEX_INTERVAL),
    set("leader.replication.throttled.replicas", List, Some(""), Any, &[]),
    set("local.retention.bytes", Long, Some("-2"), AtLeast(-2), from!("log.local.retention.bytes")),
    set("local.retention.ms", Long, Some("-2"), AtLeast(-2), from!("log.local.retention.ms")),
    set(
        "max.compaction.lag.ms",
        Long,
        Some("9223372036854775807"),
        AtLeast(1),
        from!("log.cleaner.max.compaction.lag.ms"),
    )
    .doc(MAX_LAG),
    set("max.message.bytes", Int, Some("1048588"), AtLeast(0), from!("message.max.bytes"))
        .doc("The largest record batch that is accepted."),
    set(
        "message.timestamp.after.max.ms",
        Long,
        Some("3600000"),
        AtLeast(0),
        from!("log.message.timestamp.after.max.ms"),
    )
    .doc("How far in the future a producer's timestamp may lie."),
    set(
        "message.timestamp.before.max.ms",
        Long,
        Some("9223372036854775807"),
        AtLeast(0),
        from!("log.message.timestamp.before.max.ms"),
    )
    .doc("How far in the past a producer's timestamp may lie."),
    set(
        "message.timestamp.type",
        String,
        Some("CreateTime"),
        OneOf(TIMESTAMP_TYPES),
        from!("log.message.timestamp.type"),
    )
    .doc("Whether a record has its producer's time or the time of its append."),
    set("min.cleanable.dirty.ratio", Double, Some("0.5"), UpTo(1.0), from!("log.cleaner.min.cleanable.ratio"))
        .doc(DIRTY_RATIO),
    set("min.compaction.lag.ms", Long, Some("0"), AtLeast(0), from!("log.cleaner.min.compaction.lag.ms")).doc(MIN_LAG),
    set("min.insync.replicas", Int, Some("1"), AtLeast(1), from!("min.insync.replicas"))
        .doc("Replicas that must have a record for acks=all, at most as many as the topic has."),
    set("preallocate", Boolean, Some("false"), Any, from!("log.preallocate")),
    set("remote.log.copy.disable", Boolean, Some("false"), Any, &[]),
    set("remote.log.delete.on.disable", Boolean, Some("false"), Any, &[]),
    set("remote.storage.enable", Boolean, Some("false"), Any, &[]).doc("Tiered storage.").only(&["false"]),
    set("retention.bytes", Long, Some("-1"), Any, from!("log.retention.bytes")).doc("How much of a partition is kept."),
    set(
        "retention.ms",
        Long,
        Some("604800000"),
        AtLeast(-1),
        &[
            Synonym { name: "log.retention.ms", factor: 1 },
            Synonym { name: "log.retention.minutes", factor: 60_000 },
            Synonym { name: "log.retention.hours", factor: 3_600_000 },
        ],
    )
    .doc("How long records are kept."),
    set("segment.bytes", Int, Some("1073741824"), AtLeast(1 << 20), from!("log.segment.bytes"))
        .doc("The size at which a new segment begins."),
    set("segment.index.bytes", Int, Some("10485760"), AtLeast(4), from!("log.index.size.max.bytes")),
    set(
        "segment.jitter.ms",
        Long,
        Some("0"),
        AtLeast(0),
        &[
            Synonym { name: "log.roll.jitter.ms", factor: 1 },
            Synonym { name: "log.roll.jitter.hours", factor: 3_600_000 },
        ],
    ),
    set(
        "segment.ms",
        Long,
        Some("604800000"),
        AtLeast(1),
        &[Synonym { name: "log.roll.ms", factor: 1 }, Synonym { name: "log.roll.hours", factor: 3_600_000 }],
    )
    .doc("The age at which a new segment begins."),
    set("unclean.leader.election.enable", Boolean, Some("false"), Any, from!("unclean.leader.election.enable"))
        .doc("Whether a replica that lacks acknowledged records may lead.")
        .only(&["false"]),
];
