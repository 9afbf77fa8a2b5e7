//! What the broker logs: taken as it is said, shown in the trace, and held against the faults of the run.

use std::cell::RefCell;
use std::fmt::{Debug, Write};

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

/// One line.
#[derive(Debug)]
pub(crate) struct LogLine {
    pub(crate) level: Level,
    pub(crate) text: String,
}

thread_local! {
    static LINES: RefCell<Vec<LogLine>> = const { RefCell::new(Vec::new()) };
}

/// Listens to what brokers of this process log from now on; without it runs are deaf, not wrong.
pub fn listen_to_logs() {
    // Only the first caller is heard; all want the same.
    let _ = tracing::subscriber::set_global_default(Ears);
}

/// Takes what was logged on this thread since the last call.
pub(crate) fn take() -> Vec<LogLine> {
    LINES.with_borrow_mut(std::mem::take)
}

struct Ears;

impl Subscriber for Ears {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() <= Level::INFO
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut text = Text(String::new());
        event.record(&mut text);
        LINES.with_borrow_mut(|lines| lines.push(LogLine { level: *event.metadata().level(), text: text.0 }));
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

struct Text(String);

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        // Writing into a string does not fail.
        let _ = match field.name() {
            "message" => write!(self.0, "{value:?} "),
            name => write!(self.0, "{name}={value:?} "),
        };
    }
}
