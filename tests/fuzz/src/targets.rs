//! The list of targets. Each takes any bytes, must not panic, and may assert what must hold for all inputs.
//! A target's seeds lie in `corpus/<name>/`, one input a file; a `.hex` file holds it as hexadecimal text.

/// One target.
pub(crate) struct Target {
    /// As on the command line and in `corpus/`.
    pub name: &'static str,
    /// Runs one input.
    pub run: fn(&[u8]),
}

pub(crate) const TARGETS: &[Target] = &[
    Target { name: "wire_frame", run: crate::wire::frame },
    Target { name: "wire_header", run: crate::wire::header },
    Target { name: "wire_request", run: crate::wire::request },
    Target { name: "wire_produce_view", run: crate::wire::produce_view },
    Target { name: "wire_fetch_view", run: crate::wire::fetch_view },
    Target { name: "disk_metadata_record", run: crate::disk::metadata_record },
    Target { name: "disk_frames", run: crate::disk::frames },
    Target { name: "disk_frame_bodies", run: crate::disk::frame_bodies },
    Target { name: "disk_partition_metadata", run: crate::disk::partition_metadata },
    Target { name: "settings_properties", run: crate::disk::properties },
    Target { name: "record_batches", run: crate::record::batches },
    Target { name: "record_sealed", run: crate::record::sealed },
    Target { name: "record_payload", run: crate::record::payload },
];
