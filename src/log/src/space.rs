//! The room on a log directory's filesystem: appends are refused before the disk is full, so that what was acknowledged
//! always finds room in its segment, checkpoints are written and records can be deleted.
//!
//! Nothing is set aside for that. What may be appended until the filesystem is asked again is its free space, without
//! what the journal may hold that is in no segment yet; shards share it evenly. It is asked again when half of that is
//! used, so several writers of one disk close in on the limit and never pass it.
//! Owns what is known of the room. Never deletes anything: that is retention's.

use effect::{Done, Effects, Fault, Instant, Op};

use crate::Log;
use crate::Room as FilesystemRoom;
use crate::engine::{RETRY_MS, is_full};
use crate::job::RootWork;
use crate::root::Stage;

/// Whether a directory takes appends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Room {
    Enough,
    /// What is left is for what was acknowledged: appends are refused.
    Low,
    /// Something found none.
    Full,
}

/// What one shard knows of a directory's room.
#[derive(Debug)]
pub(crate) struct Space {
    pub(crate) room: Room,
    /// Bytes that may be appended, or set aside ahead of need, before it is asked again, and how many there were.
    grant: u64,
    granted: u64,
    /// Nothing was used of it.
    is_news: bool,
    asking: bool,
    ask_at: Option<Instant>,
    /// When it answered last, or failed to.
    pub(crate) heard: Option<Instant>,
    /// What it said then.
    pub(crate) filesystem: Option<FilesystemRoom>,
    /// Less than the operator wants free.
    pub(crate) shortage_bytes: u64,
}

impl Default for Space {
    fn default() -> Self {
        Space {
            room: Room::Enough,
            grant: u64::MAX,
            granted: u64::MAX,
            is_news: false,
            asking: false,
            ask_at: None,
            heard: None,
            filesystem: None,
            shortage_bytes: 0,
        }
    }
}

impl Log {
    /// Whether so much may be appended to logs of a directory.
    pub(crate) fn may_append(&mut self, root: usize, bytes: u64) -> bool {
        let space = &self.roots[root].space;
        if space.room == Room::Enough && space.grant < bytes {
            self.set_room(root, Room::Low);
            self.ask_at_once(root);
        }
        self.roots[root].space.room == Room::Enough
    }

    /// So much was appended, or is set aside ahead of need.
    pub(crate) fn use_room(&mut self, root: usize, bytes: u64) {
        let space = &mut self.roots[root].space;
        let had_half = space.grant >= space.granted / 2;
        space.grant = space.grant.saturating_sub(bytes);
        space.is_news = false;
        if had_half && space.grant < space.granted / 2 {
            self.ask_at_once(root);
        }
    }

    /// How much may be set aside ahead of need, where `wanted` is asked for.
    pub(crate) fn room_ahead(&self, root: usize, wanted: u64) -> u64 {
        let space = &self.roots[root].space;
        if space.room == Room::Enough { wanted.min(space.grant / 8) } else { 0 }
    }

    pub(crate) fn ask_at_once(&mut self, root: usize) {
        let space = &mut self.roots[root].space;
        (space.ask_at, space.is_news) = (Some(self.now), false);
        self.wake();
    }

    /// Asks the filesystems that it is time for.
    pub(crate) fn ask_space(&mut self, out: &mut Effects) {
        for root in 0..self.roots.len() {
            if self.space_due(root).is_some_and(|at| at <= self.now) {
                let path = self.roots[root].path.clone();
                self.roots[root].space.asking = true;
                self.submit_root(root, RootWork::Space, Op::Space { path }, out);
            }
        }
    }

    /// When a filesystem is to be asked next, if at all: one where nothing happens is not.
    fn space_due(&self, root: usize) -> Option<Instant> {
        let Space { room, is_news, asking, ask_at, .. } = self.roots[root].space;
        let is_idle = is_news && room == Room::Enough && self.config.free_bytes_min == 0;
        // Whether it is there at all is known when it is read.
        let is_unread = self.roots[root].stage == Stage::Unread;
        let is_asked = !asking && !is_idle && !is_unread && !self.roots[root].offline;
        is_asked.then(|| ask_at.unwrap_or(self.now))
    }

    pub(crate) fn space_deadline(&self) -> Option<Instant> {
        (0..self.roots.len()).filter_map(|root| self.space_due(root)).min()
    }

    pub(crate) fn space_asked(&mut self, root: usize, done: Result<Done, Fault>) {
        let space = &mut self.roots[root].space;
        (space.asking, space.heard, space.filesystem) = (false, Some(self.now), None);
        let free = match done {
            // A filesystem in memory may have no end, and says so by having no size.
            Ok(Done::Space { total_bytes: 0, .. }) => u64::MAX,
            Ok(Done::Space { free_bytes, total_bytes }) => {
                space.filesystem = Some(FilesystemRoom { total_bytes, free_bytes });
                free_bytes
            }
            Ok(other) => panic!("a question for room was answered by {other:?}"),
            Err(fault) => {
                let dir = self.roots[root].path.display();
                tracing::warn!(%dir, %fault, "free space is not known");
                self.roots[root].space.ask_at = Some(self.now.plus_ms(ASK_MS));
                return;
            }
        };
        self.note_shortage(root, free);
        let kept = self.roots[root].journal.total_bytes() + CHECKPOINT_BYTES;
        let spare = (free / self.config.lanes as u64).saturating_sub(kept);
        let before = self.roots[root].space.room;
        let least = if before == Room::Enough { SPARE_BYTES_MIN } else { AGAIN_BYTES_MIN };
        let room = match before {
            _ if spare >= least => Room::Enough,
            Room::Full if free < SPARE_BYTES_MIN => Room::Full,
            _ => Room::Low,
        };
        self.set_room(root, room);
        let space = &mut self.roots[root].space;
        (space.grant, space.granted, space.is_news) = (spare, spare, true);
        let ask_ms = match room {
            Room::Enough if space.shortage_bytes == 0 => ASK_MS,
            Room::Enough | Room::Low => SHORT_MS,
            Room::Full => RETRY_MS,
        };
        space.ask_at = Some(self.now.plus_ms(ask_ms));
    }

    /// The disk is full: what asked for room is done again later, and until then appends are refused.
    pub(crate) fn root_full(&mut self, root: usize, fault: Fault) {
        assert!(is_full(fault));
        if self.roots[root].space.room != Room::Full {
            let dir = self.roots[root].path.display();
            tracing::warn!(%dir, %fault, "no space on the disk");
        }
        self.set_room(root, Room::Full);
        self.roots[root].space.ask_at = Some(self.now.plus_ms(RETRY_MS));
        self.retry_root(root);
    }

    fn set_room(&mut self, root: usize, room: Room) {
        let before = std::mem::replace(&mut self.roots[root].space.room, room);
        let dir = self.roots[root].path.display();
        match (before, room) {
            (Room::Enough, Room::Low | Room::Full) => tracing::warn!(%dir, "little space is left: appends are refused"),
            (Room::Low | Room::Full, Room::Enough) => tracing::info!(%dir, "space again: appends go on"),
            _ => return,
        }
        let refusing = self.roots.iter().filter(|root| root.space.room != Room::Enough).count();
        self.metrics.log_directories_full.set(refusing as u64);
    }

    fn note_shortage(&mut self, root: usize, free: u64) {
        let min = self.config.free_bytes_min;
        let short = min.saturating_sub(free);
        let before = std::mem::replace(&mut self.roots[root].space.shortage_bytes, short);
        let dir = self.roots[root].path.display();
        if before == 0 && short > 0 {
            tracing::warn!(%dir, free, min, "little free space: the oldest segments go before their time");
        } else if before > 0 && short == 0 {
            tracing::info!(%dir, free, "enough free space again");
        }
        self.shortage_known(before == 0 && short > 0);
        let low = self.roots.iter().filter(|root| root.space.shortage_bytes > 0).count();
        self.metrics.log_space_low.set(low as u64);
    }
}

/// Room for a checkpoint, indexes and the names of files.
const CHECKPOINT_BYTES: u64 = 4 << 20;
/// With less than this nothing is appended.
const SPARE_BYTES_MIN: u64 = 1 << 20;
/// And it takes this much to begin again.
const AGAIN_BYTES_MIN: u64 = 4 << 20;
/// How often a filesystem is asked, and how often while there is less room than there should be.
const ASK_MS: u64 = 10_000;
pub(crate) const SHORT_MS: u64 = 1000;
