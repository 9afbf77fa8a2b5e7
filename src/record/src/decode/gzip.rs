//! gzip members, one after the other; the inflater checks each member's own CRC and length.

use super::{DecodeError, WINDOW_BYTES};
use flate2::{Decompress, FlushDecompress, Status};

pub(crate) struct Decoder {
    member: Decompress,
    in_member: bool,
    at: usize,
    window: Box<[u8]>,
}

impl Decoder {
    pub(crate) fn new() -> Decoder {
        Decoder { member: member(), in_member: true, at: 0, window: vec![0; WINDOW_BYTES].into() }
    }

    pub(crate) fn next(&mut self, input: &[u8]) -> Result<&[u8], DecodeError> {
        loop {
            let rest = input.get(self.at..).ok_or(DecodeError::Malformed)?;
            if !self.in_member {
                if rest.is_empty() {
                    return Ok(&[]);
                }
                self.member = member();
                self.in_member = true;
            }
            let (in_before, out_before) = (self.member.total_in(), self.member.total_out());
            let status = self.member.decompress(rest, &mut self.window, FlushDecompress::None);
            let used = progress(in_before, self.member.total_in());
            let made = progress(out_before, self.member.total_out());
            self.at += used;
            match status {
                Ok(Status::StreamEnd) => self.in_member = false,
                Ok(Status::Ok | Status::BufError) if used == 0 && made == 0 => return Err(DecodeError::Malformed),
                Ok(Status::Ok | Status::BufError) => {}
                Err(_) => return Err(DecodeError::Malformed),
            }
            if made > 0 {
                return Ok(&self.window[..made]);
            }
        }
    }
}

fn member() -> Decompress {
    Decompress::new_gzip(WINDOW_BITS)
}

fn progress(before: u64, after: u64) -> usize {
    usize::try_from(after - before).expect("one call moves at most the length of a slice")
}

const WINDOW_BITS: u8 = 15; // 32 KiB, the most that deflate has.
