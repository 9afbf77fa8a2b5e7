//! A fetch request at its connection: asks the partitions' homes, waits for enough or for long enough, puts the answer
//! together from what they lend.

use effect::{Buf, Instant, ShardId};
use log::Piece;
use model::{ErrorCode, TopicPartition};
use wire::fetch::AbortedTransaction;
use wire::{
    DivergingEpoch, FetchPartitionHead, FetchResponse, FetchResponseWriter, FetchView, IsolationLevel, Malformed,
    TopicRef,
};

use crate::context::Context;
use crate::mail::{Fetch, FetchPart, Fetched, Letter, RequestRef};
use crate::request::fetch_session::{Begun, FetchSessions, Membership, Wanted};
use crate::request::{OutPiece, Reply, buf_of};

/// A fetch on its way.
pub(crate) struct FetchRequest {
    version: i16,
    correlation_id: i32,
    min_bytes: u64,
    max_bytes: usize,
    read_committed: bool,
    membership: Membership,
    parts: Vec<Part>,
    /// When to answer whatever there is.
    pub(crate) deadline: Instant,
    round: u32,
    awaiting: usize,
    /// Answer as soon as nothing is awaited.
    last_round: bool,
    /// A home had more while others were still awaited.
    more: bool,
    watching: bool,
}

struct Part {
    wanted: Wanted,
    at: Option<TopicPartition>,
    home: ShardId,
    result: Fetched,
}

/// What to do with a fetch now.
#[derive(Debug)]
pub(crate) enum Fetching {
    /// Wait for the homes, for data or for the deadline.
    Waits,
    /// Answer.
    Ready,
}

/// How a fetch begins.
pub(crate) enum Started {
    Request(Box<FetchRequest>),
    Reply(Reply),
}

impl FetchRequest {
    /// Reads a request and finds its session.
    pub(crate) fn start(
        body: &[u8],
        version: i16,
        correlation_id: i32,
        sessions: &mut FetchSessions,
        context: &mut Context<'_>,
    ) -> Result<Started, Malformed> {
        let view = FetchView::parse(body, version)?;
        let (membership, wanted) = match sessions.begin(&view, context.now) {
            Begun::Fetch(membership, wanted) => (membership, wanted),
            Begun::CloseElsewhere(shard, id, wanted) => {
                if shard.index() < context.post.shard_count() {
                    context.post.send(shard, Letter::CloseSession { id });
                }
                (Membership { id: 0, incremental: false }, wanted)
            }
            Begun::Refused(error) => {
                let response = FetchResponseWriter::new(version, correlation_id, 0, error, 0, 0).finish(&[]);
                return Ok(Started::Reply(Reply::frame(&response.bytes, context.memory)));
            }
        };
        let max_wait_ms = u64::try_from(view.max_wait_ms).unwrap_or(0);
        let max_bytes = usize::try_from(view.max_bytes).unwrap_or(0).min(context.config.fetch_max_bytes);
        let parts = wanted.into_iter().map(|wanted| Part::new(wanted, context)).collect();
        Ok(Started::Request(Box::new(FetchRequest {
            version,
            correlation_id,
            min_bytes: u64::try_from(view.min_bytes).unwrap_or(0).min(max_bytes as u64),
            max_bytes,
            read_committed: view.isolation_level == IsolationLevel::ReadCommitted,
            membership,
            parts,
            deadline: context.now.plus_ms(max_wait_ms),
            round: 0,
            awaiting: 0,
            last_round: max_wait_ms == 0,
            more: false,
            watching: false,
        })))
    }

    /// Asks the homes what there is now.
    pub(crate) fn ask(&mut self, request: RequestRef, context: &mut Context<'_>) -> Fetching {
        self.discard(context);
        self.round += 1;
        self.more = false;
        let mut letters: Vec<Vec<FetchPart>> = context.post.shards().map(|_| Vec::new()).collect();
        for (index, part) in self.parts.iter().enumerate() {
            let Some(at) = part.at else { continue };
            letters[part.home.index()].push(FetchPart {
                index: u32::try_from(index).expect("a request has fewer than 2^32 parts"),
                at,
                offset: part.wanted.offset,
                max_bytes: usize::try_from(part.wanted.max_bytes).unwrap_or(0),
                leader_epoch: part.wanted.leader_epoch,
                last_fetched_epoch: part.wanted.last_fetched_epoch,
            });
        }
        let refused = self.parts.iter().any(|part| part.at.is_none());
        self.last_round |= refused || self.parts.is_empty();
        let watch_below_bytes = if self.last_round { 0 } else { self.min_bytes };
        for (shard, parts) in context.post.shards().zip(letters) {
            if parts.is_empty() {
                continue;
            }
            self.awaiting += 1;
            self.watching |= watch_below_bytes > 0;
            let (round, max_bytes) = (self.round, self.max_bytes);
            let fetch = Fetch { request, round, watch_below_bytes, max_bytes, parts };
            context.post.send(shard, Letter::Fetch(fetch));
        }
        if self.awaiting == 0 { Fetching::Ready } else { Fetching::Waits }
    }

    /// A home has answered.
    pub(crate) fn answered(
        &mut self,
        round: u32,
        parts: Vec<Fetched>,
        request: RequestRef,
        context: &mut Context<'_>,
    ) -> Fetching {
        assert!(round == self.round, "a round is asked only when the one before is answered");
        for fetched in parts {
            let part = &mut self.parts[fetched.index as usize];
            part.result = fetched;
        }
        self.awaiting -= 1;
        if self.awaiting > 0 {
            return Fetching::Waits;
        }
        let enough = self.bytes() >= self.min_bytes;
        let refused = self.parts.iter().any(|part| part.result.error != ErrorCode::None);
        let diverged = self.parts.iter().any(|part| part.result.diverging.is_some());
        if enough || refused || diverged || self.last_round {
            return Fetching::Ready;
        }
        if self.more { self.ask(request, context) } else { Fetching::Waits }
    }

    /// A home has more than it had.
    pub(crate) fn ready(&mut self, request: RequestRef, context: &mut Context<'_>) -> Fetching {
        if self.awaiting > 0 {
            self.more = true;
            return Fetching::Waits;
        }
        self.ask(request, context)
    }

    /// Whether it is answered as soon as all homes have.
    pub(crate) fn is_hurried(&self) -> bool {
        self.last_round
    }

    /// It has waited long enough, or somebody waits behind it.
    pub(crate) fn hurry(&mut self) -> Fetching {
        self.last_round = true;
        if self.awaiting == 0 { Fetching::Ready } else { Fetching::Waits }
    }

    /// Ends it: tells the homes, takes what they lent. The answer, or nothing if the connection is gone.
    pub(crate) fn finish(
        mut self,
        request: RequestRef,
        sessions: &mut FetchSessions,
        context: &mut Context<'_>,
    ) -> Reply {
        self.stop(request, context);
        let mut left = self.max_bytes as u64;
        let mut first = true;
        let mut told = Vec::with_capacity(self.parts.len());
        for part in &mut self.parts {
            // The first batch always comes, later ones only as far as they fit.
            if !first && part.result.bytes > left {
                release(std::mem::take(&mut part.result.pieces), part.home, context);
                part.result.bytes = 0;
            }
            first &= part.result.bytes == 0;
            left = left.saturating_sub(part.result.bytes);
            let (result, has_records) = (&part.result, part.result.bytes > 0);
            let error = result.error != ErrorCode::None || result.diverging.is_some();
            told.push(sessions.is_news(
                self.membership,
                &part.wanted,
                result.high_watermark,
                result.log_start_offset,
                error,
                has_records,
            ));
        }
        let mut keep = told.into_iter();
        self.parts.retain(|_| keep.next().unwrap_or(true));
        context.metrics.fetch_bytes_total.add(self.bytes());
        let response = self.write();
        let pieces = self.interleave(response, context);
        Reply::Pieces(pieces)
    }

    /// Ends it without an answer: the connection is gone.
    pub(crate) fn abandon(mut self, request: RequestRef, context: &mut Context<'_>) {
        self.stop(request, context);
        self.discard(context);
    }

    fn bytes(&self) -> u64 {
        self.parts.iter().map(|part| part.result.bytes).sum()
    }

    fn stop(&mut self, request: RequestRef, context: &mut Context<'_>) {
        if !std::mem::take(&mut self.watching) {
            return;
        }
        for shard in context.post.shards() {
            if self.parts.iter().any(|part| part.at.is_some() && part.home == shard) {
                context.post.send(shard, Letter::Unwatch { request });
            }
        }
    }

    fn discard(&mut self, context: &mut Context<'_>) {
        for part in &mut self.parts {
            release(std::mem::take(&mut part.result.pieces), part.home, context);
            part.result.bytes = 0;
        }
    }

    fn write(&self) -> FetchResponse {
        // Consecutive partitions of a topic share its heading.
        let topics: Vec<&[Part]> = self.parts.chunk_by(|one, next| one.wanted.topic == next.wanted.topic).collect();
        let (version, id) = (self.version, self.membership.id);
        let mut writer = FetchResponseWriter::new(version, self.correlation_id, 0, ErrorCode::None, id, topics.len());
        for parts in topics {
            let Some(first) = parts.first() else { continue };
            writer.topic(first.wanted.topic.as_ref(), parts.len());
            for part in parts {
                writer.partition(&part.head(self.read_committed));
            }
        }
        writer.finish(&[])
    }

    /// Puts the records where the response has left room for them.
    fn interleave(&mut self, response: FetchResponse, context: &mut Context<'_>) -> Vec<OutPiece> {
        let heads: Buf = buf_of(&response.bytes, context.memory);
        let mut pieces = Vec::new();
        let mut at = 0;
        let mut with_records = self.parts.iter_mut().filter(|part| part.result.bytes > 0);
        for splice in response.splices {
            let part = with_records.next().expect("every splice is some part's");
            pieces.push(OutPiece::Memory(heads.slice(at..splice.at)));
            at = splice.at;
            let home = part.home;
            pieces.extend(part.result.pieces.drain(..).map(|piece| match piece {
                Piece::Memory(buf) => OutPiece::Memory(buf),
                Piece::File { file, offset, len, lease } => OutPiece::File { file, offset, len, lease, home },
            }));
        }
        pieces.push(OutPiece::Memory(heads.slice(at..heads.len())));
        pieces
    }
}

impl Part {
    fn new(wanted: Wanted, context: &Context<'_>) -> Part {
        let known = context.topics.find(context.image, wanted.topic.as_ref());
        let at = known.and_then(|known| known.partition(wanted.partition));
        let error = match (at, known, wanted.topic.as_ref()) {
            (Some(_), _, _) => ErrorCode::None,
            (None, None, TopicRef::Id(_)) => ErrorCode::UnknownTopicId,
            (None, _, _) => ErrorCode::UnknownTopicOrPartition,
        };
        let home = at.map_or(context.post.own(), |at| context.topics.home(at));
        Part { wanted, at, home, result: Fetched::error(0, error) }
    }

    fn head(&self, read_committed: bool) -> FetchPartitionHead<'static> {
        const NONE_ABORTED: &[AbortedTransaction] = &[];
        let result = &self.result;
        FetchPartitionHead {
            partition: self.wanted.partition,
            error_code: result.error,
            high_watermark: result.high_watermark,
            // Without transactions nothing is undecided.
            last_stable_offset: result.high_watermark,
            log_start_offset: result.log_start_offset,
            diverging_epoch: result.diverging.map(|(epoch, end_offset)| DivergingEpoch { epoch, end_offset }),
            current_leader: None,
            aborted_transactions: read_committed.then_some(NONE_ABORTED),
            preferred_read_replica: None,
            records_bytes: usize::try_from(result.bytes).expect("bounded by max_bytes and one batch"),
        }
    }
}

/// Gives back what was lent and will not be sent.
pub(crate) fn release(pieces: Vec<Piece>, home: ShardId, context: &mut Context<'_>) {
    for piece in pieces {
        if let Piece::File { lease, .. } = piece {
            context.post.send(home, Letter::Release(lease));
        }
    }
}

/// As [`release`], for an answer that was put together already.
pub(crate) fn release_out(pieces: impl IntoIterator<Item = OutPiece>, context: &mut Context<'_>) {
    for piece in pieces {
        if let OutPiece::File { lease, home, .. } = piece {
            context.post.send(home, Letter::Release(lease));
        }
    }
}
