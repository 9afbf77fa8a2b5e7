//! Frames: four bytes of length, then a header, then a body.
//! Owns finding a frame's end in received bytes and putting a whole frame together. Never holds received bytes.

use std::ops::Range;

use crate::{ApiKey, Malformed, RequestHeader, ResponseHeader, Writer};

/// What received bytes begin with.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Split {
    /// A whole frame: where it lies without its length; the next one begins at its end.
    Whole(Range<usize>),
    /// The beginning of a frame that needs `total_bytes` with its length. While the length itself is not whole this is
    /// the least that any frame takes.
    Partial {
        /// Counted from the frame's first byte, the length included.
        total_bytes: usize,
    },
}

/// The bytes of the length.
const PREFIX_BYTES: usize = 4;

/// Looks for a frame at the beginning of `received`. `limit_bytes` is `socket.request.max.bytes`.
pub fn split(received: &[u8], limit_bytes: usize) -> Result<Split, Malformed> {
    let Some(prefix) = received.first_chunk::<PREFIX_BYTES>() else {
        return Ok(Split::Partial { total_bytes: PREFIX_BYTES });
    };
    let Ok(frame_bytes) = usize::try_from(i32::from_be_bytes(*prefix)) else {
        return Err(Malformed { at: 0, what: "a negative frame length" });
    };
    if frame_bytes > limit_bytes {
        return Err(Malformed { at: 0, what: "a frame above socket.request.max.bytes" });
    }
    let total_bytes = PREFIX_BYTES + frame_bytes;
    if received.len() < total_bytes {
        return Ok(Split::Partial { total_bytes });
    }
    Ok(Split::Whole(PREFIX_BYTES..total_bytes))
}

/// A whole request frame, length included.
pub fn request_frame(
    key: ApiKey,
    version: i16,
    correlation_id: i32,
    client_id: Option<&str>,
    body: impl FnOnce(&mut Writer),
) -> Vec<u8> {
    framed(|writer| {
        RequestHeader::encode(writer, key, version, correlation_id, client_id);
        body(writer);
    })
}

/// A whole response frame, length included.
pub fn response_frame(key: ApiKey, version: i16, correlation_id: i32, body: impl FnOnce(&mut Writer)) -> Vec<u8> {
    framed(|writer| {
        ResponseHeader { correlation_id }.encode(writer, key, version);
        body(writer);
    })
}

fn framed(content: impl FnOnce(&mut Writer)) -> Vec<u8> {
    let mut writer = Writer::with_capacity(128);
    writer.i32(0);
    content(&mut writer);
    patch_frame_len(&mut writer, 0);
    writer.into_bytes()
}

/// Fills in the length at the buffer's beginning; `elsewhere_bytes` of the frame are not in the buffer.
pub(crate) fn patch_frame_len(writer: &mut Writer, elsewhere_bytes: usize) {
    let frame_bytes = writer.position() - PREFIX_BYTES + elsewhere_bytes;
    writer.patch_i32(0, i32::try_from(frame_bytes).expect("a frame of ours is below 2 GiB"));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_found_whole_or_their_size_is_told() {
        assert_eq!(split(&[], 100), Ok(Split::Partial { total_bytes: 4 }));
        assert_eq!(split(&[0, 0, 0], 100), Ok(Split::Partial { total_bytes: 4 }));
        assert_eq!(split(&[0, 0, 0, 2, 7], 100), Ok(Split::Partial { total_bytes: 6 }));
        assert_eq!(split(&[0, 0, 0, 2, 7, 8, 9], 100), Ok(Split::Whole(4..6)));
        assert_eq!(split(&[0, 0, 0, 0], 100), Ok(Split::Whole(4..4)));
    }

    #[test]
    fn negative_and_oversized_frames_are_malformed() {
        assert!(split(&[0xff, 0xff, 0xff, 0xff], 100).is_err());
        assert!(split(&[0, 0, 0, 101], 100).is_err());
        assert_eq!(split(&[0, 0, 0, 100], 100), Ok(Split::Partial { total_bytes: 104 }));
    }
}
