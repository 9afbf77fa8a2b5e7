//! What shards say to each other: letters, and the post that carries them.
//!
//! Owns this shard's mailboxes, an overflow for each peer, and the letters that it writes to itself. A letter is never
//! lost: what a full mailbox refuses waits here in order, and a connection that would write to a congested peer stops
//! being parsed. So the overflow is bounded by what is in flight already.

mod lookup;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use controller::Image;
use effect::{Buf, Effects, Endpoint, ShardId, Socket};
use log::Lease;
use model::{ErrorCode, LeaderEpoch, Offset, Timestamp, TopicPartition};
use record::Validated;

pub(crate) use lookup::{EpochEnd, EpochPart, LogDir, LogDirs, LookedUp, Lookup, MovePart, ProducersPart};

/// Names a request that a connection of some shard waits for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct RequestRef {
    pub(crate) shard: ShardId,
    pub(crate) slot: u32,
    pub(crate) generation: u32,
    pub(crate) sequence: u32,
}

/// One shard's end of the post; what [`links`] makes is handed to the shards.
#[derive(Debug)]
pub struct Link(pub(crate) Endpoint<Letter>);

/// The post among `shards` shards, each pair's mailbox holding at most `capacity` letters.
pub fn links(shards: usize, capacity: usize) -> Vec<Link> {
    effect::mesh(shards, capacity).into_iter().map(Link).collect()
}

#[derive(Debug)]
pub(crate) enum Letter {
    /// To a partition's home: append these.
    Produce(Produce),
    /// Back: what became of them.
    Produced { request: RequestRef, results: Vec<(u32, ProduceResult)> },
    /// To a partition's home: read these.
    Fetch(Fetch),
    /// Back: what is there now.
    Fetched { request: RequestRef, round: u32, parts: Vec<Fetched> },
    /// A partition that the fetch watches has more.
    FetchReady { request: RequestRef },
    /// The fetch was answered: forget its watch.
    Unwatch { request: RequestRef },
    /// A piece of a file has been sent.
    Release(Lease),
    /// From a home whose readers hold what others need: end those that take nothing.
    Shed,
    /// To a partition's home: look up offsets.
    ListOffsets(ListOffsets),
    /// Back: the offsets.
    ListedOffsets { request: RequestRef, results: Vec<(u32, OffsetResult)> },
    /// To a partition's home: delete old records.
    DeleteRecords(DeleteRecords),
    /// Back: what became of it.
    DeletedRecords { request: RequestRef, results: Vec<(u32, DeleteResult)> },
    /// To a coordinator's home: ask groups.
    AskGroups { request: RequestRef, parts: Vec<GroupPart> },
    /// To every shard: which groups do you have?
    ListGroups { request: RequestRef, index: u32 },
    /// Back: what came of one of them.
    Grouped { request: RequestRef, index: u32, answer: Box<group::Answer> },
    /// To homes: say what you know.
    LookUp { request: RequestRef, lookup: Lookup },
    /// Back: that.
    LookedUp { request: RequestRef, found: LookedUp },
    /// To shard 0: a request that changes metadata, as it came.
    Control { request: RequestRef, command: Command },
    /// Back: the whole response frame, `None` where the connection goes on by itself (or must close: bad bytes).
    Controlled { request: RequestRef, outcome: Outcome },
    /// From shard 0: the metadata is now this.
    Image { version: u64, image: Arc<Image> },
    /// Back: taken, and its new partitions are open.
    ImageTaken { version: u64 },
    /// From shard 0: every shard is ready, serve.
    Serve,
    /// A connection that another shard accepted.
    Adopt { socket: Socket, peer: SocketAddr, local: SocketAddr },
    /// A fetch session of the other shard is closed by its client.
    CloseSession { id: i32 },
    /// To shard 0: no request is in flight here any more.
    Drained,
    /// From shard 0: all are drained, close the logs and stop.
    CloseLogs,
    /// A write or sync failed in a log directory: nobody writes there any more.
    DirectoryFailed { dir: PathBuf },
    /// A shard has taken over what runs with another number of shards left for it.
    Adopted,
}

/// What shard 0 is asked to do.
#[derive(Debug)]
pub(crate) enum Command {
    /// A whole frame of an API that changes metadata.
    Frame(Buf),
    /// Topics that a metadata request names into being.
    AutoCreate(Vec<String>),
}

/// What came of a [`Command`].
#[derive(Debug)]
pub(crate) enum Outcome {
    /// The response frame.
    Frame(Vec<u8>),
    /// Done; every shard has the new image.
    Done,
    /// The frame was malformed.
    Malformed,
}

#[derive(Debug)]
pub(crate) struct Produce {
    pub(crate) request: RequestRef,
    /// Whether the answer waits until the records are durable; with acks=0 only until they are appended.
    pub(crate) until_durable: bool,
    pub(crate) parts: Vec<ProducePart>,
}

#[derive(Debug)]
pub(crate) struct ProducePart {
    /// Its place in the request.
    pub(crate) index: u32,
    pub(crate) at: TopicPartition,
    /// Exactly one batch.
    pub(crate) batch: Buf,
    pub(crate) validated: Validated,
    /// The time that the topic stamps the records with, if it does.
    pub(crate) log_append_time: Option<Timestamp>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct ProduceResult {
    pub(crate) error: ErrorCode,
    pub(crate) base_offset: Option<Offset>,
    pub(crate) log_append_time: Option<Timestamp>,
    pub(crate) log_start_offset: Option<Offset>,
}

impl ProduceResult {
    pub(crate) fn error(error: ErrorCode) -> ProduceResult {
        ProduceResult { error, base_offset: None, log_append_time: None, log_start_offset: None }
    }
}

#[derive(Debug)]
pub(crate) struct Fetch {
    pub(crate) request: RequestRef,
    /// Counts the times that this request asked; comes back.
    pub(crate) round: u32,
    /// Tell when there is more, if there is less than this now; 0: don't.
    pub(crate) watch_below_bytes: u64,
    pub(crate) max_bytes: usize,
    pub(crate) parts: Vec<FetchPart>,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct FetchPart {
    pub(crate) index: u32,
    pub(crate) at: TopicPartition,
    pub(crate) offset: Option<Offset>,
    pub(crate) max_bytes: usize,
    pub(crate) leader_epoch: Option<LeaderEpoch>,
    pub(crate) last_fetched_epoch: Option<LeaderEpoch>,
}

#[derive(Debug)]
pub(crate) struct Fetched {
    pub(crate) index: u32,
    pub(crate) error: ErrorCode,
    pub(crate) high_watermark: Option<Offset>,
    pub(crate) log_start_offset: Option<Offset>,
    /// The epoch at which the client's log leaves ours, and where that epoch ends here (KIP-320).
    pub(crate) diverging: Option<(LeaderEpoch, Offset)>,
    pub(crate) pieces: Vec<log::Piece>,
    pub(crate) bytes: u64,
}

impl Fetched {
    pub(crate) fn error(index: u32, error: ErrorCode) -> Fetched {
        Fetched {
            index,
            error,
            high_watermark: None,
            log_start_offset: None,
            diverging: None,
            pieces: Vec::new(),
            bytes: 0,
        }
    }
}

#[derive(Debug)]
pub(crate) struct ListOffsets {
    pub(crate) request: RequestRef,
    pub(crate) parts: Vec<OffsetPart>,
    /// Of the first parts, while others wait for the disk.
    pub(crate) results: Vec<(u32, OffsetResult)>,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct OffsetPart {
    pub(crate) index: u32,
    pub(crate) at: TopicPartition,
    pub(crate) wanted: WantedOffset,
    pub(crate) leader_epoch: Option<LeaderEpoch>,
}

/// What ListOffsets asks for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum WantedOffset {
    /// Also "earliest local": without tiering the same.
    Earliest,
    Latest,
    MaxTimestamp,
    /// "Latest tiered" and "earliest pending upload": without tiering there is none.
    Tiered,
    Time(Timestamp),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct OffsetResult {
    pub(crate) error: ErrorCode,
    pub(crate) offset: Option<Offset>,
    pub(crate) timestamp: Option<Timestamp>,
    pub(crate) leader_epoch: Option<LeaderEpoch>,
}

impl OffsetResult {
    pub(crate) fn error(error: ErrorCode) -> OffsetResult {
        OffsetResult { error, offset: None, timestamp: None, leader_epoch: None }
    }
}

#[derive(Debug)]
pub(crate) struct DeleteRecords {
    pub(crate) request: RequestRef,
    pub(crate) parts: Vec<DeletePart>,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct DeletePart {
    pub(crate) index: u32,
    pub(crate) at: TopicPartition,
    /// The first record that stays; `None`: the high watermark.
    pub(crate) before: Option<Offset>,
}

/// Something asked of a group.
#[derive(Debug)]
pub(crate) struct GroupPart {
    /// Its place in the request; comes back.
    pub(crate) index: u32,
    /// The partition of the offsets topic.
    pub(crate) partition: u32,
    pub(crate) group_id: Box<str>,
    pub(crate) asked: group::Request,
}

/// The start offset once no restart brings the records back, or why they stay.
pub(crate) type DeleteResult = Result<Offset, ErrorCode>;

/// Carries this shard's letters.
#[derive(Debug)]
pub(crate) struct Post {
    endpoint: Endpoint<Letter>,
    overflow: Vec<VecDeque<Letter>>,
    /// What is to be handled here, with its sender.
    inbox: VecDeque<(ShardId, Letter)>,
}

impl Post {
    pub(crate) fn new(link: Link) -> Post {
        let overflow = (0..link.0.shard_count()).map(|_| VecDeque::new()).collect();
        Post { endpoint: link.0, overflow, inbox: VecDeque::new() }
    }

    pub(crate) fn own(&self) -> ShardId {
        self.endpoint.own()
    }

    pub(crate) fn shard_count(&self) -> usize {
        self.endpoint.shard_count()
    }

    pub(crate) fn shards(&self) -> impl Iterator<Item = ShardId> + use<> {
        (0..self.shard_count() as u16).map(ShardId)
    }

    pub(crate) fn send(&mut self, to: ShardId, letter: Letter) {
        if to == self.own() {
            self.inbox.push_back((to, letter));
            return;
        }
        let overflow = &mut self.overflow[to.index()];
        if !overflow.is_empty() {
            overflow.push_back(letter);
        } else if let Err(letter) = self.endpoint.send(to, letter) {
            overflow.push_back(letter);
        }
    }

    /// The next letter to handle.
    pub(crate) fn next_letter(&mut self) -> Option<(ShardId, Letter)> {
        self.inbox.pop_front()
    }

    /// Takes in what peers have sent.
    pub(crate) fn collect(&mut self) {
        let inbox = &mut self.inbox;
        self.endpoint.receive(|from, letter| inbox.push_back((from, letter)));
    }

    /// Whether some peer does not keep up: nothing new is to be started.
    pub(crate) fn is_congested(&self) -> bool {
        self.overflow.iter().any(|letters| !letters.is_empty())
    }

    /// Sends what waits and rouses whom it reaches asleep.
    pub(crate) fn flush(&mut self, out: &mut Effects) {
        for (to, overflow) in self.overflow.iter_mut().enumerate() {
            while let Some(letter) = overflow.pop_front() {
                if let Err(letter) = self.endpoint.send(ShardId(to as u16), letter) {
                    overflow.push_front(letter);
                    break;
                }
            }
        }
        self.endpoint.wakes(|shard| out.wake(shard));
    }

    /// Says that this shard is about to sleep; `false` if there is mail.
    pub(crate) fn sleep(&mut self) -> bool {
        self.inbox.is_empty() && self.endpoint.sleep()
    }

    pub(crate) fn awake(&mut self) {
        self.endpoint.awake();
    }
}
