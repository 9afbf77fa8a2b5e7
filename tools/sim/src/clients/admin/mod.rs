//! The only client that creates, grows and deletes topics, one request at a time: what was acknowledged stays so.

mod changes;
mod looks;

use model::Uuid;

use super::session::{Heard, Session};
use super::{Actor, Stage};
use crate::oracle::{Rules, Topic, TopicIndex};

/// The client. Two connections, so that what one was told is asked of the other.
#[derive(Debug)]
pub(crate) struct Admin {
    changes: Session,
    looks: Session,
    names: Vec<Name>,
    doing: Option<usize>,
    looking: Option<Look>,
    created_count: usize,
    next_ns: u64,
    /// How many changes it makes beside its stable topics; without it as many as there is time for.
    changes_left: Option<u32>,
}

/// A question, and how often what it is about had changed when it left.
#[derive(Debug)]
enum Look {
    Metadata(Vec<u32>),
    Configs { index: usize, change_count: u32 },
}

#[derive(Debug)]
struct Name {
    text: String,
    /// As many as it is to have; more than it has while it grows.
    partitions: usize,
    is_stable: bool,
    rules: Rules,
    state: State,
    change_count: u32,
    /// What a setting without effect has, as far as anybody knows: the last that was acknowledged, and what may be.
    value: Option<u64>,
    values_unheard: Vec<u64>,
    /// A growth was not answered, or failed: nobody knows whether it was done.
    grew_unheard: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    Absent,
    Creating,
    /// Created, as the broker said; the id is not known yet.
    Nameless,
    Present(TopicIndex),
    Growing(TopicIndex),
    Altering(TopicIndex, u64),
    Deleting(TopicIndex),
    /// A request was not answered: nobody knows, now or later.
    Lost,
}

impl Admin {
    /// Creates topics with so many partitions first, never to be deleted.
    pub(crate) fn new(stable: &[(usize, Rules)]) -> Admin {
        let name = |(index, (partitions, rules)): (usize, &(usize, Rules))| {
            Name::new(format!("{STABLE}{index}"), *partitions, true, *rules)
        };
        Admin {
            changes: Session::default(),
            looks: Session::default(),
            names: stable.iter().enumerate().map(name).collect(),
            doing: None,
            looking: None,
            created_count: 0,
            next_ns: 0,
            changes_left: None,
        }
    }

    /// Creates topics, makes so many changes and then only looks.
    pub(crate) fn brief(stable: &[(usize, Rules)], changes: u32) -> Admin {
        Admin { changes_left: Some(changes), ..Admin::new(stable) }
    }
}

impl Name {
    fn new(text: String, partitions: usize, is_stable: bool, rules: Rules) -> Name {
        Name {
            text,
            partitions,
            is_stable,
            rules,
            state: State::Absent,
            change_count: 0,
            value: None,
            values_unheard: Vec::new(),
            grew_unheard: false,
        }
    }

    fn topic(&self, id: Uuid) -> Topic {
        Topic::new(&self.text, id, self.partitions, self.is_stable, self.rules)
    }

    /// The settings that make its rules.
    fn configs(&self) -> Vec<(&'static str, String)> {
        let Rules { log_append_time, compacts, retention_ms, retention_bytes } = self.rules;
        let timestamp_type = if log_append_time { "LogAppendTime" } else { "CreateTime" };
        let mut configs = vec![("message.timestamp.type", timestamp_type.to_owned())];
        if compacts {
            configs.push(("cleanup.policy", "compact".to_owned()));
            configs.push(("min.cleanable.dirty.ratio", "0.1".to_owned()));
            // A tombstone goes with the next pass.
            configs.push(("delete.retention.ms", "0".to_owned()));
        }
        configs.extend(retention_ms.map(|value| ("retention.ms", value.to_string())));
        configs.extend(retention_bytes.map(|value| ("retention.bytes", value.to_string())));
        configs
    }
}

impl Actor for Admin {
    fn act(&mut self, stage: &mut Stage<'_>) {
        while let Some(heard) = self.changes.hear(stage) {
            match heard {
                Heard::Answer(answer) => self.take_change(stage, &answer),
                Heard::Broken => self.unanswered(),
            }
        }
        while let Some(heard) = self.looks.hear(stage) {
            match heard {
                Heard::Answer(answer) => self.take_look(stage, &answer),
                Heard::Broken => self.looking = None,
            }
        }
        if stage.winding_down && self.is_idle() {
            return;
        }
        if stage.now_ns() < self.next_ns {
            return stage.at(self.next_ns);
        }
        let missing = |name: &Name| name.is_stable && !matches!(name.state, State::Present(_));
        let eager = self.names.iter().any(missing) || self.changes_left.is_some_and(|left| left > 0);
        self.next_ns = if eager { stage.think(50, 500) } else { stage.think(1000, 60_000) };
        stage.at(self.next_ns);
        if self.looking.is_none() && self.looks.is_open(stage) {
            match stage.rng.index(4) {
                0 => self.describe(stage),
                _ => self.look(stage),
            }
        }
        if self.doing.is_none() && self.changes.is_open(stage) {
            self.change(stage);
        }
    }

    fn is_idle(&self) -> bool {
        let settled = |name: &Name| !name.is_stable || matches!(name.state, State::Present(_));
        self.doing.is_none() && self.looking.is_none() && self.names.iter().all(settled)
    }
}

/// What the names of topics that are never deleted begin with.
pub(crate) const STABLE: &str = "stable-";
const CHURNED_MAX: usize = 3;
const PARTITIONS_MAX: usize = 10;
/// A setting that changes nothing.
const VALUE: &str = "flush.messages";
/// The operation of an incremental change.
const SET: i8 = 0;
/// The kind of resource.
const TOPIC: i8 = 2;
