//! What the handlers' tests stand on: a controller whose record sets are durable at once.

use std::net::SocketAddr;
use std::sync::Arc;

use controller::{Controller, CreateTopics, Decided, Image, NewTopic, Topic};
use model::NodeId;

use super::View;
use crate::config::{BrokerConfig, Sources};

pub(crate) struct World {
    pub(crate) controller: Controller,
    pub(crate) config: BrokerConfig,
    entropy: u64,
}

impl World {
    pub(crate) fn new() -> World {
        World::with(&[])
    }

    /// With settings, as `--set` takes them.
    pub(crate) fn with(set: &[&str]) -> World {
        let set: Vec<String> = set.iter().map(|argument| argument.to_string()).collect();
        let config = BrokerConfig::load(&Sources { set: &set, ..Sources::default() }).expect("valid settings");
        let mut entropy = 0;
        let mut counting = || {
            entropy += 1;
            entropy
        };
        let (controller, decided) = Controller::start(Image::empty(), NodeId(1), &mut counting).expect("an empty log");
        let mut world = World { controller, config, entropy };
        world.commit(decided);
        world
    }

    pub(crate) fn commit<A>(&mut self, decided: Decided<A>) -> A {
        if let Some(set) = decided.record_set {
            self.controller.committed(set.id);
        }
        decided.answer
    }

    /// Hands controller, settings and entropy to a handler and commits what it decides.
    pub(crate) fn decide<A>(
        &mut self,
        handler: impl FnOnce(&mut Controller, &BrokerConfig, &mut dyn FnMut() -> u64) -> Decided<A>,
    ) -> A {
        let entropy = &mut self.entropy;
        let decided = handler(&mut self.controller, &self.config, &mut || {
            *entropy += 1;
            *entropy
        });
        self.commit(decided)
    }

    pub(crate) fn create(&mut self, name: &str, partition_count: i32) -> Arc<Topic> {
        let topic = NewTopic { name: name.into(), partition_count: Some(partition_count), ..NewTopic::default() };
        let request = CreateTopics { topics: vec![topic], validate_only: false, partition_count_default: 1 };
        let created = self.decide(|controller, _, entropy| controller.create_topics(&request, entropy)).remove(0);
        created.expect("a valid topic")
    }

    pub(crate) fn image(&self) -> &Image {
        self.controller.durable()
    }

    pub(crate) fn view(&self) -> View<'_> {
        View { image: self.image(), config: &self.config, local: SocketAddr::from(([127, 0, 0, 1], 9092)) }
    }
}
