//! The frames of HTTP/2 (RFC 9113, section 4.1) in the bytes of one direction.

/// The length of a frame's header in bytes.
const HEADER: usize = 9;

/// The position in one direction.
#[derive(Clone, Copy, Debug)]
pub(super) struct Frames {
    place: Place,
    /// Whether the position is uncertain, so that the beginning of the next event has to confirm it.
    unsure: bool,
}

#[derive(Clone, Copy, Debug)]
enum Place {
    /// This many bytes before the end of a frame or of the preface; 0 is between two frames.
    Within(u32),
    /// In a frame's header: the number of bytes received, and the bytes.
    Header(u8, [u8; HEADER]),
    Unknown,
}

impl Frames {
    /// The position at the beginning, before a preface of this many bytes, or an unknown position.
    pub(super) const fn new(at_beginning: bool, preface: u32) -> Self {
        let place = if at_beginning {
            Place::Within(preface)
        } else {
            Place::Unknown
        };
        Self {
            place,
            unsure: !at_beginning,
        }
    }

    /// Whether the next byte is certainly the first of a frame, so that complete frames change nothing.
    pub(super) const fn is_between_frames(&self) -> bool {
        matches!(self.place, Place::Within(0)) && !self.unsure
    }

    /// Advances over the bytes of an event.
    #[inline]
    pub(super) fn follow(&mut self, payload: &[u8]) {
        match &mut self.place {
            Place::Within(left) if !self.unsure && payload.len() <= *left as usize => {
                *left -= payload.len() as u32;
            }
            _ => self.follow_frames(payload),
        }
    }

    fn follow_frames(&mut self, mut payload: &[u8]) {
        if self.unsure && !payload.is_empty() {
            let is_short = payload.len() < HEADER && matches!(self.place, Place::Within(_));
            if is_short || is_plausible(payload) {
                (self.place, self.unsure) = (Place::Within(0), false);
            } else {
                self.place = Place::Unknown;
            }
        }
        loop {
            match &mut self.place {
                Place::Unknown => return,
                Place::Within(left) => match payload.split_at_checked(*left as usize) {
                    None => {
                        *left -= payload.len() as u32;
                        return;
                    }
                    Some((_, [])) => {
                        *left = 0;
                        return;
                    }
                    Some((_, rest)) => match rest.split_first_chunk::<HEADER>() {
                        Some((header, rest)) => {
                            *left = length(header);
                            payload = rest;
                        }
                        None => {
                            self.place = Place::Header(0, [0; HEADER]);
                            payload = rest;
                        }
                    },
                },
                Place::Header(have, header) => {
                    let at = usize::from(*have);
                    let (begin, rest) = payload.split_at(payload.len().min(HEADER - at));
                    header[at..][..begin.len()].copy_from_slice(begin);
                    *have += begin.len() as u8;
                    if usize::from(*have) < HEADER {
                        return;
                    }
                    self.place = Place::Within(length(header));
                    payload = rest;
                }
            }
        }
    }

    /// Advances over `missing` unknown bytes.
    pub(super) fn skip(&mut self, missing: u64) {
        let (left, knows_length) = self.left();
        self.place = match left.checked_sub(missing) {
            // The end of a frame: the next event should begin another one.
            Some(0) => {
                self.unsure = true;
                Place::Within(0)
            }
            Some(left) if knows_length => Place::Within(left as u32),
            _ => {
                self.unsure = true;
                Place::Unknown
            }
        };
    }

    /// The minimum number of bytes missing if the last event is truncated: the rest of the frame.
    pub(super) fn missing(&self) -> u64 {
        self.left().0
    }

    /// The minimum number of bytes up to the end of the frame, and whether it is exact.
    const fn left(&self) -> (u64, bool) {
        match self.place {
            Place::Within(left) => (left as u64, true),
            Place::Header(have, header) => {
                let rest = HEADER as u64 - have as u64;
                if have < 3 {
                    return (rest, false);
                }
                (rest + length(&header) as u64, true)
            }
            Place::Unknown => (0, false),
        }
    }
}

/// The length in a frame's header.
const fn length(header: &[u8; HEADER]) -> u32 {
    u32::from_be_bytes([0, header[0], header[1], header[2]])
}

/// Whether bytes may be the beginning of a frame (RFC 9113, section 6).
fn is_plausible(bytes: &[u8]) -> bool {
    let Some(header) = bytes.first_chunk::<HEADER>() else {
        return false;
    };
    let [_, _, _, kind, _, id @ ..] = *header;
    let id = u32::from_be_bytes(id);
    let (len, has_stream) = (length(header), id != 0);
    // The reserved bit is 0 in every frame that is sent.
    id >> 31 == 0
        && match kind {
            // DATA, HEADERS, PUSH_PROMISE, CONTINUATION.
            0 | 1 | 5 | 9 => has_stream,
            // PRIORITY, RST_STREAM.
            2 => has_stream && len == 5,
            3 => has_stream && len == 4,
            // SETTINGS, PING, GOAWAY.
            4 => !has_stream && len.is_multiple_of(6),
            6 => !has_stream && len == 8,
            7 => !has_stream && len >= 8,
            // WINDOW_UPDATE, on a stream or the connection.
            8 => len == 4,
            // ALTSVC, ORIGIN, PRIORITY_UPDATE (RFC 7838, 8336 and 9218).
            10 | 12 | 16 => true,
            _ => false,
        }
}
