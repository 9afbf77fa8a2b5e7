//! The APIs that are served, and at which versions: the generated code supports exactly these.

/// One API that is generated.
pub(crate) struct Served {
    /// Kafka's name, without `Request` or `Response`.
    pub name: &'static str,
    /// First and last version that is decoded and answered.
    pub versions: (i16, i16),
    /// The lowest version that ApiVersions shows.
    pub advertised_min: i16,
}

const fn served(name: &'static str, min: i16, max: i16) -> Served {
    Served { name, versions: (min, max), advertised_min: min }
}

/// In the order of their keys.
pub(crate) const SERVED: &[Served] = &[
    // librdkafka up to 2.8 stops compressing when Produce is not advertised from 0; 0-2 are refused all the same.
    Served { name: "Produce", versions: (3, 13), advertised_min: 0 },
    served("Fetch", 4, 18),
    served("ListOffsets", 1, 11),
    served("Metadata", 0, 13),
    served("OffsetCommit", 2, 10),
    served("OffsetFetch", 1, 10),
    served("FindCoordinator", 0, 6),
    served("JoinGroup", 0, 9),
    served("Heartbeat", 0, 4),
    served("LeaveGroup", 0, 5),
    served("SyncGroup", 0, 5),
    served("DescribeGroups", 0, 6),
    served("ListGroups", 0, 5),
    served("ApiVersions", 0, 5),
    served("CreateTopics", 2, 7),
    served("DeleteTopics", 1, 6),
    served("DeleteRecords", 0, 2),
    served("InitProducerId", 0, 5),
    served("OffsetForLeaderEpoch", 2, 4),
    served("DescribeConfigs", 1, 4),
    served("AlterConfigs", 0, 2),
    served("AlterReplicaLogDirs", 1, 2),
    served("DescribeLogDirs", 1, 5),
    served("CreatePartitions", 0, 3),
    served("DeleteGroups", 0, 3),
    served("ElectLeaders", 0, 2),
    served("IncrementalAlterConfigs", 0, 1),
    served("AlterPartitionReassignments", 0, 1),
    served("ListPartitionReassignments", 0, 0),
    served("OffsetDelete", 0, 0),
    served("DescribeQuorum", 0, 2),
    served("UpdateFeatures", 0, 2),
    served("DescribeCluster", 0, 2),
    served("DescribeProducers", 0, 0),
    served("UnregisterBroker", 0, 0),
    served("ListConfigResources", 0, 1),
    served("DescribeTopicPartitions", 0, 0),
];

/// Nullable arrays whose definition defaults to null although the Java admin client fails on a null: empty by default.
pub(crate) const NEVER_NULL_BY_DEFAULT: &[&str] = &["EligibleLeaderReplicas", "LastKnownElr"];
