//! A client that sends what no client should, reads late or never, and leaves in the middle of things.

use wire::ApiKey;
use wire::fetch::{FetchPartition, FetchRequest, FetchTopic};
use wire::metadata::MetadataRequest;

use super::{Actor, Stage};
use crate::net::{ConnId, Incoming, Leave};

/// The client.
#[derive(Debug, Default)]
pub(crate) struct Hostile {
    conn: Option<ConnId>,
    out: Vec<u8>,
    leave_ns: u64,
    reads: bool,
    next_ns: u64,
}

impl Actor for Hostile {
    fn act(&mut self, stage: &mut Stage<'_>) {
        if let Some(conn) = self.conn {
            self.go_on(stage, conn);
        }
        if stage.winding_down {
            return;
        }
        if stage.now_ns() >= self.next_ns && self.conn.is_none() {
            self.next_ns = stage.think(500, 20_000);
            self.conn = Some(stage.world.connect(stage.me));
            self.leave_ns = stage.think(100, 400_000);
            self.reads = stage.rng.coin();
            self.out = nonsense(stage);
            stage.at(self.leave_ns);
        } else if self.conn.is_none() {
            stage.at(self.next_ns);
        }
    }

    fn is_idle(&self) -> bool {
        self.conn.is_none()
    }
}

impl Hostile {
    fn go_on(&mut self, stage: &mut Stage<'_>, conn: ConnId) {
        let count = stage.world.client_send(conn, &self.out);
        self.out.drain(..count);
        let mut over = stage.winding_down || stage.now_ns() >= self.leave_ns;
        if self.reads {
            match stage.world.client_read(conn, 100) {
                Incoming::Bytes(_) => stage.at(stage.now_ns() + 500_000),
                Incoming::Nothing => (),
                Incoming::End | Incoming::Reset => over = true,
            }
        }
        if over {
            let how = [Leave::Close, Leave::Reset, Leave::Vanish][stage.rng.index(3)];
            stage.world.client_leave(conn, how);
            self.conn = None;
        } else {
            stage.at(self.leave_ns);
        }
    }
}

/// Bytes to send: noise, lies about length, good requests cut or bent, more requests than answers are read.
fn nonsense(stage: &mut Stage<'_>) -> Vec<u8> {
    match stage.rng.below(6) {
        0 => (0..stage.rng.spread(1, 2000)).map(|_| stage.rng.bits() as u8).collect(),
        1 => {
            let lie = [i32::MAX, -1, i32::MIN, 0, 1, 99_999_999][stage.rng.index(6)];
            let mut bytes = lie.to_be_bytes().to_vec();
            bytes.extend(request(stage));
            bytes
        }
        2 => {
            let mut bytes = request(stage);
            bytes.truncate(stage.rng.index(bytes.len()));
            bytes
        }
        3 => {
            let mut bytes = request(stage);
            for _ in 0..stage.rng.range(1, 4) {
                // Not the key: bent bytes must not become a request that changes things.
                let at = stage.rng.range(6, bytes.len() as u64 - 1) as usize;
                bytes[at] = stage.rng.bits() as u8;
            }
            bytes
        }
        4 => (0..stage.rng.range(1, 40)).flat_map(|_| request(stage)).collect(),
        _ => {
            let key = [1_i16, 4, 9, 17, 500, -1][stage.rng.index(6)];
            let mut bytes = 40_i32.to_be_bytes().to_vec();
            bytes.extend(key.to_be_bytes());
            bytes.extend((stage.rng.below(40) as i16).to_be_bytes());
            bytes.extend((0..36).map(|_| stage.rng.bits() as u8));
            bytes
        }
    }
}

/// A good request that changes nothing.
fn request(stage: &mut Stage<'_>) -> Vec<u8> {
    let correlation_id = stage.rng.bits() as i32;
    if stage.rng.coin() {
        let version = stage.version(ApiKey::Metadata, 4);
        let request = MetadataRequest { topics: None, allow_auto_topic_creation: false, ..Default::default() };
        return wire::request_frame(ApiKey::Metadata, version, correlation_id, None, |out| {
            request.encode(out, version)
        });
    }
    let version = stage.version(ApiKey::Fetch, 13);
    let mut topics = Vec::new();
    if let Some((topic, partition)) = stage.any_partition(false) {
        let partitions = vec![FetchPartition {
            partition: partition as i32,
            fetch_offset: 0,
            partition_max_bytes: i32::MAX,
            ..Default::default()
        }];
        topics.push(FetchTopic { topic: "".into(), topic_id: stage.oracle.topics[topic].id, partitions });
    }
    let request = FetchRequest {
        max_wait_ms: i32::MAX,
        min_bytes: 1,
        max_bytes: i32::MAX,
        session_epoch: stage.rng.range(0, 1) as i32 - 1,
        topics,
        ..Default::default()
    };
    wire::request_frame(ApiKey::Fetch, version, correlation_id, None, |out| request.encode(out, version))
}
