//! Appends at a partition's home, and the answers that wait for the disk.

use log::{Append, AppendError};
use model::{ErrorCode, Offset, TopicPartition};

use crate::context::Context;
use crate::errors::append_code;
use crate::home::{Home, State};
use crate::mail::{Letter, Produce, ProducePart, ProduceResult, RequestRef};

/// A produce letter on its way: answered when nothing of it is left to wait for.
pub(crate) struct Job {
    request: RequestRef,
    until_durable: bool,
    waiting: usize,
    results: Vec<(u32, ProduceResult)>,
}

/// One part of a [`Job`], as the partition's leader keeps it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct AckRef {
    slot: u32,
    generation: u32,
    /// Which of the job's results.
    at: usize,
}

/// An append that found no memory.
pub(crate) struct Stalled {
    ack: AckRef,
    part: ProducePart,
}

impl Home {
    pub(crate) fn produce(&mut self, produce: Produce, context: &mut Context<'_>) {
        let results = produce.parts.iter().map(|part| (part.index, ProduceResult::error(ErrorCode::None))).collect();
        // One more than the parts, so that it is answered only when all have been looked at.
        let waiting = produce.parts.len() + 1;
        let job = Job { request: produce.request, until_durable: produce.until_durable, waiting, results };
        let (slot, generation) = self.jobs.insert(job);
        for (at, part) in produce.parts.into_iter().enumerate() {
            let ack = AckRef { slot, generation, at };
            if self.stalled.is_empty() {
                self.append(ack, part, context);
            } else {
                self.stalled.push_back(Stalled { ack, part });
            }
        }
        self.part_settled(slot, generation, context);
    }

    /// Appends a batch of the broker's own; where it ends. Nobody is told when it is durable: see
    /// [`Home::durable_range`].
    pub(crate) fn append_own(
        &mut self,
        at: TopicPartition,
        batch: &[u8],
        context: &Context<'_>,
    ) -> Result<Offset, AppendError> {
        let partition = self.partitions.get(&at).ok_or(AppendError::Gone)?;
        match partition.state {
            State::Open => {}
            State::Opening => return Err(AppendError::NotOpen),
            State::Failed => return Err(AppendError::Offline),
        }
        if batch.len() > partition.config.max_message_bytes {
            return Err(AppendError::TooLarge);
        }
        let leader_epoch = partition.leader.epoch();
        let append = Append { batch, max_timestamp: context.wall, leader_epoch, log_append_time: None };
        self.log.append(partition.log, context.wall, append).map(|appended| appended.last_offset.plus(1))
    }

    /// Goes on with what found no memory, in order.
    pub(super) fn retry_stalled(&mut self, context: &mut Context<'_>) {
        for _ in 0..self.stalled.len() {
            let Some(Stalled { ack, part }) = self.stalled.pop_front() else { return };
            let before = self.stalled.len();
            self.append(ack, part, context);
            if self.stalled.len() > before {
                // It went to the back; it belongs to the front.
                self.stalled.rotate_right(1);
                return;
            }
        }
    }

    fn append(&mut self, ack: AckRef, part: ProducePart, context: &mut Context<'_>) {
        let Some(partition) = self.partitions.get_mut(&part.at) else {
            return self.settle(ack, Some(ErrorCode::UnknownTopicOrPartition), context);
        };
        if partition.state != State::Open {
            let code = unopened_code(partition.state);
            return self.settle(ack, Some(code), context);
        }
        let append = Append {
            batch: &part.batch,
            max_timestamp: part.validated.max_timestamp,
            leader_epoch: partition.leader.epoch(),
            log_append_time: part.log_append_time,
        };
        match self.log.append(partition.log, context.wall, append) {
            Ok(appended) => {
                if !appended.duplicate {
                    context.metrics.produce_bytes_total.add(part.batch.len() as u64);
                    context.metrics.produce_records_total.add(u64::from(part.validated.record_count));
                }
                let job = self.jobs.get_mut(ack.slot, ack.generation).expect("a job outlives its parts");
                job.results[ack.at].1 = ProduceResult {
                    error: ErrorCode::None,
                    base_offset: Some(appended.base_offset),
                    log_append_time: appended.log_append_time,
                    log_start_offset: self.log.start(partition.log),
                };
                let settled = match job.until_durable {
                    true => partition.leader.acknowledge_at(appended.last_offset.plus(1), ack),
                    false => Some(ack),
                };
                if settled.is_some() {
                    self.part_settled(ack.slot, ack.generation, context);
                }
            }
            Err(AppendError::Busy) => self.stalled.push_back(Stalled { ack, part }),
            Err(error) => {
                context.metrics.produce_rejected_total.add(1);
                self.settle(ack, Some(append_code(error)), context);
            }
        }
    }

    /// Ends the wait of one part, with an error or as it was noted when appended.
    pub(super) fn settle(&mut self, ack: AckRef, error: Option<ErrorCode>, context: &mut Context<'_>) {
        let job = self.jobs.get_mut(ack.slot, ack.generation).expect("a job outlives its parts");
        if let Some(error) = error {
            job.results[ack.at].1 = ProduceResult::error(error);
        }
        self.part_settled(ack.slot, ack.generation, context);
    }

    fn part_settled(&mut self, slot: u32, generation: u32, context: &mut Context<'_>) {
        let job = self.jobs.get_mut(slot, generation).expect("a job outlives its parts");
        job.waiting -= 1;
        if job.waiting == 0 {
            let job = self.jobs.remove(slot, generation).expect("it was there");
            context.post.send(job.request.shard, Letter::Produced { request: job.request, results: job.results });
        }
    }
}

/// What a partition answers that is there but not open.
pub(super) fn unopened_code(state: State) -> ErrorCode {
    match state {
        State::Opening => ErrorCode::NotLeaderOrFollower,
        State::Open => ErrorCode::None,
        State::Failed => ErrorCode::KafkaStorageError,
    }
}
