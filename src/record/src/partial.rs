//! A record of which only a part has been seen: the same grammar as `walk::parse`, one byte run at a time.
//! Never keeps a byte of a key, value or header; knows only how many are still to be passed over.

use crate::RecordFault;
use crate::varint::{self, I32_BYTES_MAX, I64_BYTES_MAX, Step};
use crate::walk::Summary;

#[derive(Default)]
pub(crate) struct Partial {
    stage: Stage,
    integer: varint::Partial,
    /// Bytes of the body not seen yet.
    body_bytes: u32,
    /// Bytes of the current key, value or header not passed over yet.
    skip_bytes: u32,
    headers_left: u32,
    timestamp_delta: i64,
    offset_delta: i32,
    has_key: bool,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Stage {
    #[default]
    Length,
    Attributes,
    TimestampDelta,
    OffsetDelta,
    KeyLength,
    Key,
    ValueLength,
    Value,
    HeaderCount,
    HeaderKeyLength,
    HeaderKey,
    HeaderValueLength,
    HeaderValue,
}

impl Partial {
    /// Takes what belongs to the record off the front of `bytes`; the record's summary once it is complete.
    pub(crate) fn feed(&mut self, bytes: &mut &[u8]) -> Result<Option<Summary>, RecordFault> {
        loop {
            let complete = match self.stage {
                Stage::Key | Stage::Value | Stage::HeaderKey | Stage::HeaderValue => self.pass_over(bytes),
                _ => match self.take_integer(bytes)? {
                    None => return Ok(None),
                    Some(integer) => {
                        self.accept(integer)?;
                        continue;
                    }
                },
            };
            if !complete {
                return Ok(None);
            }
            match self.stage {
                Stage::Key => self.stage = Stage::ValueLength,
                Stage::Value => self.stage = Stage::HeaderCount,
                Stage::HeaderKey => self.stage = Stage::HeaderValueLength,
                Stage::HeaderValue if self.headers_left > 0 => {
                    self.headers_left -= 1;
                    self.stage = Stage::HeaderKeyLength;
                }
                _ if self.body_bytes == 0 => return Ok(Some(self.summary())),
                _ => return Err(RecordFault::Length),
            }
        }
    }

    /// Moves on from a stage that is an integer.
    fn accept(&mut self, integer: u64) -> Result<(), RecordFault> {
        match self.stage {
            Stage::Length => {
                self.body_bytes = u32::try_from(narrow(integer)?).map_err(|_| RecordFault::Length)?;
                if self.body_bytes == 0 {
                    return Err(RecordFault::Length);
                }
                self.stage = Stage::Attributes;
            }
            Stage::Attributes => self.stage = Stage::TimestampDelta,
            Stage::TimestampDelta => {
                self.timestamp_delta = varint::unzigzag_i64(integer);
                self.stage = Stage::OffsetDelta;
            }
            Stage::OffsetDelta => {
                self.offset_delta = narrow(integer)?;
                self.stage = Stage::KeyLength;
            }
            Stage::KeyLength => {
                self.has_key = self.begin(narrow(integer)?, RecordFault::Key)?;
                self.stage = Stage::Key;
            }
            Stage::ValueLength => {
                self.begin(narrow(integer)?, RecordFault::Value)?;
                self.stage = Stage::Value;
            }
            Stage::HeaderCount => {
                self.headers_left = u32::try_from(narrow(integer)?).map_err(|_| RecordFault::Header)?;
                // As if a header before the first had just ended: the loop decides whether another follows.
                self.stage = Stage::HeaderValue;
            }
            Stage::HeaderKeyLength => {
                let present = self.begin(narrow(integer)?, RecordFault::Header)?;
                if !present {
                    return Err(RecordFault::Header);
                }
                self.stage = Stage::HeaderKey;
            }
            Stage::HeaderValueLength => {
                self.begin(narrow(integer)?, RecordFault::Header)?;
                self.stage = Stage::HeaderValue;
            }
            Stage::Key | Stage::Value | Stage::HeaderKey | Stage::HeaderValue => {
                unreachable!("these stages are bytes, not integers")
            }
        }
        Ok(())
    }

    /// Prepares to pass over `length` bytes; whether there is something at all (-1: null).
    fn begin(&mut self, length: i32, fault: RecordFault) -> Result<bool, RecordFault> {
        if length == -1 {
            self.skip_bytes = 0;
            return Ok(false);
        }
        self.skip_bytes = u32::try_from(length).map_err(|_| fault)?;
        self.body_bytes = self.body_bytes.checked_sub(self.skip_bytes).ok_or(fault)?;
        Ok(true)
    }

    /// Whether all of the current bytes have been passed over.
    fn pass_over(&mut self, bytes: &mut &[u8]) -> bool {
        let here = usize::try_from(self.skip_bytes).map_or(bytes.len(), |skip| skip.min(bytes.len()));
        *bytes = &bytes[here..];
        // `here` is at most `skip_bytes`.
        self.skip_bytes -= u32::try_from(here).expect("no more than a u32 was asked for");
        self.skip_bytes == 0
    }

    fn take_integer(&mut self, bytes: &mut &[u8]) -> Result<Option<u64>, RecordFault> {
        let bytes_max = match self.stage {
            Stage::TimestampDelta => I64_BYTES_MAX,
            _ => I32_BYTES_MAX,
        };
        while let Some((&byte, rest)) = bytes.split_first() {
            if self.stage != Stage::Length {
                self.body_bytes = self.body_bytes.checked_sub(1).ok_or(RecordFault::Varint)?;
            }
            *bytes = rest;
            if self.stage == Stage::Attributes {
                return Ok(Some(0));
            }
            match self.integer.push(byte, bytes_max) {
                Step::More => {}
                Step::Done(integer) => {
                    self.integer = varint::Partial::default();
                    return Ok(Some(integer));
                }
                Step::Malformed => return Err(RecordFault::Varint),
            }
        }
        // No byte is left of the body, whatever may still come.
        if self.stage != Stage::Length && self.body_bytes == 0 {
            return Err(RecordFault::Varint);
        }
        Ok(None)
    }

    fn summary(&self) -> Summary {
        Summary { timestamp_delta: self.timestamp_delta, offset_delta: self.offset_delta, has_key: self.has_key }
    }
}

fn narrow(integer: u64) -> Result<i32, RecordFault> {
    varint::unzigzag_i32(integer).ok_or(RecordFault::Varint)
}
