//! One member of a group: who it is, what it can do, what it waits for.

use std::sync::Arc;

use crate::face::{Join, Protocol};

/// A member.
#[derive(Debug)]
pub(crate) struct Member<A> {
    pub(crate) id: Arc<str>,
    pub(crate) instance_id: Option<Arc<str>>,
    pub(crate) client_id: Arc<str>,
    pub(crate) client_host: Arc<str>,
    pub(crate) session_timeout_ms: u64,
    pub(crate) rebalance_timeout_ms: u64,
    pub(crate) protocols: Vec<Protocol>,
    pub(crate) assignment: Arc<[u8]>,
    /// Has not been told yet that it is a member, so it cannot send heartbeats.
    pub(crate) is_new: bool,
    pub(crate) waits: Waits<A>,
    /// When it is gone unless it is heard of.
    pub(crate) session_at: Option<u64>,
}

/// What a member's last request waits for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Waits<A> {
    Nothing,
    Join(A),
    Sync(A),
}

impl<A: Copy> Member<A> {
    pub(crate) fn new(id: Arc<str>, join: &Join) -> Member<A> {
        let mut member = Member {
            id,
            instance_id: join.who.instance_id.as_deref().map(Arc::from),
            client_id: (&*join.client_id).into(),
            client_host: (&*join.client_host).into(),
            session_timeout_ms: 0,
            rebalance_timeout_ms: 0,
            protocols: Vec::new(),
            assignment: Arc::from([]),
            is_new: true,
            waits: Waits::Nothing,
            session_at: None,
        };
        member.take_timeouts(join);
        member
    }

    pub(crate) fn take_timeouts(&mut self, join: &Join) {
        self.session_timeout_ms = u64::try_from(join.session_timeout_ms).unwrap_or(0);
        self.rebalance_timeout_ms = u64::try_from(join.rebalance_timeout_ms).unwrap_or(0);
    }

    pub(crate) fn is_static(&self) -> bool {
        self.instance_id.is_some()
    }

    pub(crate) fn awaits_join(&self) -> bool {
        matches!(self.waits, Waits::Join(_))
    }

    /// What it says to a protocol; nothing if it does not know it.
    pub(crate) fn metadata(&self, protocol: &str) -> Arc<[u8]> {
        let found = self.protocols.iter().find(|known| &*known.name == protocol);
        found.map_or_else(|| Arc::from([]), |known| known.metadata.clone())
    }

    /// About the memory that it takes.
    pub(crate) fn bytes(&self) -> usize {
        let protocols: usize =
            self.protocols.iter().map(|each| OVERHEAD / 4 + each.name.len() + each.metadata.len()).sum();
        OVERHEAD + 4 * self.id.len() + self.client_id.len() + self.client_host.len() + self.assignment.len() + protocols
    }
}

/// Of a member or a pending member beside what it brings itself.
pub(crate) const OVERHEAD: usize = 512;
