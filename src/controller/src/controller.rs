//! The decision maker: holds what is durable and what is decided, and numbers the record sets between the two.
//! Requests may arrive while an earlier set is still being written: decisions are made on the pending image,
//! and every answer names the set that must be durable before it may leave.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;

use model::{NodeId, Uuid};

use crate::image::FORMAT;
use crate::{Image, MetadataRecord};

/// Numbers record sets in the order in which they must reach the log.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct SetId(pub u64);

/// What goes into the metadata log as one batch: all of it or nothing.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RecordSet {
    /// Its number, which `Controller::committed` gets back.
    pub id: SetId,
    /// The values of the batch's records, in order. Never empty.
    pub payloads: Vec<Vec<u8>>,
}

/// A decision: what to write, and what to answer when.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Decided<A> {
    /// To be appended to the metadata log; `None` if nothing changes.
    pub record_set: Option<RecordSet>,
    /// The answer holds once this set is durable; `None`: at once. A refusal waits too, where it rests on a set that
    /// is still being written. If that set fails, so does the request.
    pub after: Option<SetId>,
    /// One item for each of the request.
    pub answer: A,
}

impl<A> Decided<A> {
    /// The same decision, its answer in another form.
    pub fn map<B>(self, form: impl FnOnce(A) -> B) -> Decided<B> {
        Decided { record_set: self.record_set, after: self.after, answer: form(self.answer) }
    }
}

/// Why the metadata of a data directory is not this broker's.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum StartError {
    /// It belongs to a broker of another id.
    NodeDiffers {
        /// That id.
        registered: NodeId,
        /// This broker's.
        configured: NodeId,
    },
}

/// The metadata state machine.
#[derive(Debug)]
pub struct Controller {
    node_id: NodeId,
    durable: Arc<Image>,
    pending: Arc<Image>,
    /// What `durable` becomes with each set that is being written.
    in_flight: VecDeque<(SetId, Arc<Image>)>,
    next_set: SetId,
}

impl Controller {
    /// Begins from the image that the log replayed to. Where the log was empty, or the broker not registered in it, the
    /// decision has records to write before anything is served.
    pub fn start(
        image: Image,
        node_id: NodeId,
        entropy: &mut dyn FnMut() -> u64,
    ) -> Result<(Controller, Decided<()>), StartError> {
        if let Some(registered) = image.registered_node()
            && registered != node_id
        {
            return Err(StartError::NodeDiffers { registered, configured: node_id });
        }
        let mut records = Vec::new();
        if image.is_empty() {
            records.push(MetadataRecord::Cluster { format: FORMAT, cluster_id: Uuid::random(entropy) });
        }
        if image.registered_node().is_none() {
            records.push(MetadataRecord::NodeRegistered { node_id });
        }
        let image = Arc::new(image);
        let mut controller = Controller {
            node_id,
            durable: Arc::clone(&image),
            pending: image,
            in_flight: VecDeque::new(),
            next_set: SetId(0),
        };
        let decided = controller.decide(records, ());
        Ok((controller, decided))
    }

    /// The image that everyone may see.
    pub fn durable(&self) -> &Arc<Image> {
        &self.durable
    }

    /// The image that decisions are made on; nobody else may act on it.
    pub fn pending(&self) -> &Arc<Image> {
        &self.pending
    }

    /// This broker.
    pub fn node_id(&self) -> NodeId {
        self.node_id
    }

    /// The set is durable, and those before it are. Returns the image that it made.
    pub fn committed(&mut self, id: SetId) -> Arc<Image> {
        let (oldest, image) = self.in_flight.pop_front().expect("a committed set was in flight");
        assert!(oldest == id, "sets become durable in order");
        self.durable = image;
        self.invariants();
        Arc::clone(&self.durable)
    }

    /// The newest set could not even begin to be written, for a reason that passes: it is as if it had never been
    /// decided. Answers that wait for it must become an error.
    pub fn withdraw(&mut self, id: SetId) {
        let (newest, _) = self.in_flight.pop_back().expect("a set that is withdrawn was decided");
        assert!(newest == id, "only the newest set can be withdrawn");
        self.pending = Arc::clone(self.in_flight.back().map_or(&self.durable, |(_, image)| image));
        self.invariants();
    }

    /// A set could not be written, and so neither could those after it: the decisions fall back to what is durable.
    /// Every answer that waits for a set in flight must become an error.
    pub fn failed(&mut self) {
        self.in_flight.clear();
        self.pending = Arc::clone(&self.durable);
        self.invariants();
    }

    /// Makes the records the next set, if there are any.
    pub(crate) fn decide<A>(&mut self, records: Vec<MetadataRecord>, answer: A) -> Decided<A> {
        if records.is_empty() {
            return Decided { record_set: None, after: self.last_in_flight(), answer };
        }
        let image = Image::clone(&self.pending).apply(&records).expect("decided records follow from the pending image");
        self.pending = Arc::new(image);
        let id = self.next_set;
        self.next_set = SetId(id.0 + 1);
        self.in_flight.push_back((id, Arc::clone(&self.pending)));
        self.invariants();
        let payloads = records.iter().map(MetadataRecord::encode).collect();
        Decided { record_set: Some(RecordSet { id, payloads }), after: Some(id), answer }
    }

    fn last_in_flight(&self) -> Option<SetId> {
        self.in_flight.back().map(|(id, _)| *id)
    }

    fn invariants(&self) {
        let last = self.in_flight.back().map_or(&self.durable, |(_, image)| image);
        assert!(Arc::ptr_eq(last, &self.pending));
        assert!(self.last_in_flight().is_none_or(|last| last < self.next_set));
        assert!(self.pending.next_producer_id() >= self.durable.next_producer_id());
    }
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let StartError::NodeDiffers { registered, configured } = self;
        write!(f, "the data belongs to node.id={}, this broker has node.id={}", registered.0, configured.0)
    }
}

impl std::error::Error for StartError {}

/// A set is one batch, and a batch is read into memory whole.
pub(crate) const RECORD_SET_BYTES_MAX: usize = 8 << 20;
