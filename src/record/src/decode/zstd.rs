//! Zstandard frames, one after the other, through the reference decoder with a bound on its window's memory.
//! Producers at levels 20 to 22 declare windows of 32 to 128 MiB however little they send. Such a frame is taken, because
//! a window costs memory only as far as it is filled, but its output is bounded instead.

use super::{DecodeError, WINDOW_BYTES};
use std::cell::Cell;
use zstd::zstd_safe::{DCtx, DParameter, InBuffer, OutBuffer, ResetDirective, get_error_name};

pub(crate) struct Decoder {
    tools: Option<Tools>,
    between_frames: bool,
    at: usize,
    /// What a payload with a frame of a wide window may still make; `None` while there was no such frame.
    wide_bytes_left: Option<usize>,
}

/// What is dear to make: 9 us, most of the cost of a small batch. One set is kept for each thread.
struct Tools {
    context: DCtx<'static>,
    window: Box<[u8]>,
}

thread_local! {
    static SPARE: Cell<Option<Tools>> = const { Cell::new(None) };
}

impl Decoder {
    pub(crate) fn new() -> Decoder {
        let tools = SPARE.take().unwrap_or_else(Tools::new);
        Decoder { tools: Some(tools), between_frames: true, at: 0, wide_bytes_left: None }
    }

    pub(crate) fn next(&mut self, input: &[u8]) -> Result<&[u8], DecodeError> {
        loop {
            let rest = input.get(self.at..).ok_or(DecodeError::Malformed)?;
            if rest.is_empty() && self.between_frames {
                return Ok(&[]);
            }
            let tools = self.tools.as_mut().expect(TOOLS);
            let mut source = InBuffer::around(rest);
            let mut target = OutBuffer::around(&mut tools.window[..]);
            // Zero says that a frame ended and all of it is out.
            let hint = match tools.context.decompress_stream(&mut target, &mut source) {
                Ok(hint) => hint,
                Err(code) => {
                    self.widen(refusal(code))?;
                    continue;
                }
            };
            let (used, made) = (source.pos(), target.pos());
            self.between_frames = hint == 0;
            self.at += used;
            if let Some(left) = &mut self.wide_bytes_left {
                *left = left.checked_sub(made).ok_or(DecodeError::TooLarge)?;
            }
            if made > 0 {
                return Ok(&self.tools.as_ref().expect(TOOLS).window[..made]);
            }
            if used == 0 && !self.between_frames {
                return Err(DecodeError::Malformed);
            }
        }
    }

    /// Begins the frame anew with a wide window, if that is what it was refused for.
    fn widen(&mut self, refusal: DecodeError) -> Result<(), DecodeError> {
        if refusal != DecodeError::TooLarge || self.wide_bytes_left.is_some() || !self.between_frames {
            return Err(refusal);
        }
        self.wide_bytes_left = Some(WIDE_BYTES_MAX);
        self.tools.as_mut().expect(TOOLS).begin(WIDE_WINDOW_LOG_MAX);
        Ok(())
    }
}

impl Drop for Decoder {
    fn drop(&mut self) {
        // A context keeps the largest window that it ever had.
        let spare = self.tools.take().filter(|tools| tools.context.sizeof() <= SPARE_BYTES_MAX);
        if let Some(mut tools) = spare {
            tools.begin(WINDOW_LOG_MAX);
            // A thread that ends has no spare any more.
            let _ = SPARE.try_with(|kept| kept.set(Some(tools)));
        }
    }
}

impl Tools {
    fn new() -> Tools {
        let mut tools = Tools { context: DCtx::create(), window: vec![0; WINDOW_BYTES].into() };
        tools.begin(WINDOW_LOG_MAX);
        tools
    }

    /// Forgets any payload begun before.
    fn begin(&mut self, window_log_max: u32) {
        self.context.reset(ResetDirective::SessionOnly).expect("a session can always be reset");
        self.context.set_parameter(DParameter::WindowLogMax(window_log_max)).expect("a window that zstd supports");
    }
}

fn refusal(code: usize) -> DecodeError {
    match get_error_name(code) {
        "Frame requires too much memory for decoding" | "Allocation error : not enough memory" => DecodeError::TooLarge,
        _ => DecodeError::Malformed,
    }
}

/// 8 MiB: what RFC 8878 asks every decoder to support; levels up to 19 stay within it.
const WINDOW_LOG_MAX: u32 = 23;

/// 128 MiB: the most that zstd itself, and so Kafka, takes by default.
const WIDE_WINDOW_LOG_MAX: u32 = 27;

/// As much of a wide window as an ordinary one would hold.
const WIDE_BYTES_MAX: usize = 1 << WINDOW_LOG_MAX;

/// A spare context is kept only if it has no large window: the ones of small batches, which need it most.
const SPARE_BYTES_MAX: usize = 1 << 20;

const TOOLS: &str = "a decoder has its tools until it is dropped";
