//! Reads the metadata log, at the broker's start, into an image.

use controller::{Image, ReplayError, replay_set};
use effect::Done;
use log::LogRef;
use model::Offset;

use crate::context::Context;
use crate::control::read_token;
use crate::home::Home;
use crate::log_reader::{LogReader, Progress, ReadFailure};

/// How far the reading is.
pub(super) struct Replay {
    log: LogRef,
    image: Image,
    record_count: u64,
    /// Once the log is open.
    reader: Option<LogReader>,
}

/// Why the metadata cannot be read.
pub(super) type ReplayFailure = ReadFailure<ReplayError>;

impl Replay {
    pub(super) fn new(log: LogRef) -> Replay {
        Replay { log, image: Image::empty(), record_count: 0, reader: None }
    }

    /// The log is open.
    pub(super) fn begin(&mut self, start: Offset, end: Offset) {
        self.reader = Some(LogReader::new(self.log, read_token(), start, end));
    }

    /// Reads on. Once all is read: the image and how many records led to it.
    pub(super) fn step(
        &mut self,
        home: &mut Home,
        context: &mut Context<'_>,
    ) -> Result<Option<(Image, u64)>, ReplayFailure> {
        let Some(reader) = &mut self.reader else { return Ok(None) };
        loop {
            let (image, record_count) = (&mut self.image, &mut self.record_count);
            // Each batch is one record set.
            let progress = reader.step(home, context, |records| {
                let payloads = records.iter().map(|record| record.value.unwrap_or_default());
                *image = replay_set(std::mem::take(image), payloads)?;
                *record_count += records.len() as u64;
                Ok(())
            })?;
            match progress {
                Progress::Waits => return Ok(None),
                Progress::More => {}
                Progress::Done => return Ok(Some((std::mem::take(&mut self.image), self.record_count))),
            }
        }
    }

    /// Blocks of a file have come.
    pub(super) fn complete(
        &mut self,
        done: Done,
        home: &mut Home,
        context: &mut Context<'_>,
    ) -> Result<(), ReplayFailure> {
        self.reader.as_mut().map_or(Ok(()), |reader| reader.complete(done, home, context))
    }
}
