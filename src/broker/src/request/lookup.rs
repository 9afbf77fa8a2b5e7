//! Requests that homes answer from what they know, at their connection. Owns which API is which.

use effect::Buf;
use wire::{ApiKey, Malformed, Reader, RequestBody};

use crate::context::Context;
use crate::mail::{LookedUp, RequestRef};
use crate::request::Reply;
use crate::request::alter_replica_log_dirs::AlterReplicaLogDirsState;
use crate::request::describe_log_dirs::DescribeLogDirsState;
use crate::request::describe_producers::DescribeProducersState;
use crate::request::offset_for_leader_epoch::OffsetForLeaderEpochState;

/// A request on its way.
pub(crate) enum LookupState {
    OffsetForLeaderEpoch(OffsetForLeaderEpochState),
    DescribeProducers(DescribeProducersState),
    DescribeLogDirs(DescribeLogDirsState),
    AlterReplicaLogDirs(AlterReplicaLogDirsState),
}

/// How to answer it.
#[derive(Clone, Copy)]
pub(super) struct Asked {
    pub(super) version: i16,
    pub(super) correlation_id: i32,
    pub(super) id: RequestRef,
}

impl LookupState {
    /// Asks the homes. Returns the state, and whether there is anything to wait for.
    pub(crate) fn start(
        api: ApiKey,
        body: &Buf,
        version: i16,
        correlation_id: i32,
        id: RequestRef,
        context: &mut Context<'_>,
    ) -> Result<(LookupState, bool), Malformed> {
        let asked = Asked { version, correlation_id, id };
        Ok(match RequestBody::decode(api, &mut Reader::new(body), version)? {
            RequestBody::OffsetForLeaderEpoch(request) => {
                let (state, waits) = OffsetForLeaderEpochState::start(&request, asked, context);
                (LookupState::OffsetForLeaderEpoch(state), waits)
            }
            RequestBody::DescribeProducers(request) => {
                let (state, waits) = DescribeProducersState::start(&request, asked, context);
                (LookupState::DescribeProducers(state), waits)
            }
            RequestBody::DescribeLogDirs(request) => {
                (LookupState::DescribeLogDirs(DescribeLogDirsState::start(&request, asked, context)), true)
            }
            RequestBody::AlterReplicaLogDirs(request) => {
                let (state, waits) = AlterReplicaLogDirsState::start(&request, asked, context);
                (LookupState::AlterReplicaLogDirs(state), waits)
            }
            _ => unreachable!("the connection has no other request looked up"),
        })
    }

    /// A home has answered. Returns whether that was the last.
    pub(crate) fn answered(&mut self, found: LookedUp) -> bool {
        match (self, found) {
            (LookupState::OffsetForLeaderEpoch(state), LookedUp::EpochEnds(ends)) => state.split.answered(ends),
            (LookupState::DescribeProducers(state), LookedUp::Producers(found)) => state.split.answered(found),
            (LookupState::DescribeLogDirs(state), LookedUp::LogDirs(dirs)) => state.answered(dirs),
            (LookupState::AlterReplicaLogDirs(state), LookedUp::Moves(codes)) => state.split.answered(codes),
            _ => unreachable!("a home answers what it was asked"),
        }
    }

    pub(crate) fn reply(&self, context: &Context<'_>) -> Reply {
        match self {
            LookupState::OffsetForLeaderEpoch(state) => state.reply(context),
            LookupState::DescribeProducers(state) => state.reply(context),
            LookupState::DescribeLogDirs(state) => state.reply(context),
            LookupState::AlterReplicaLogDirs(state) => state.reply(context),
        }
    }
}
