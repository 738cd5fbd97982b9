//! Follows the messages and frames of HTTP in the bytes of a connection, to find how many bytes a truncation of
//! unknown size lacks at least.
//!
//! Both directions are followed from the first byte on. Only a position in each is kept, none of the payload.
//! Invalid bytes are not reported: they lose the position until an event begins like a message or a frame.
//!
//! Invariant: the state has a constant size, and inside a frame or a body an event takes one subtraction.

mod http1;
mod http2;

use crate::model::event::Direction;
use crate::model::protocol::http1::Methods;
use crate::model::protocol::{self, Opening, PREFACE, Parsed, Protocol};

use http1::Messages;
use http2::Frames;

/// The most bytes that a truncation is assumed to lack: the size of the largest HTTP/2 frame. A larger body does
/// not arrive in one event, so its length says nothing about the event.
const MAX_ESTIMATE: u64 = 1 << 24;

/// HTTP is searched for in this many of a connection's first events with bytes.
const MAX_TRIES: u8 = 4;

/// The position in both directions of a connection.
#[derive(Debug, Default)]
pub(super) struct Framing {
    sides: Option<Box<Sides>>,
    /// The number of events without HTTP, as long as no HTTP was found.
    tries: u8,
}

/// The position in each direction: in the client's bytes and in the server's.
#[derive(Clone, Copy, Debug)]
struct Sides {
    /// The direction of the client's bytes.
    from_client: Direction,
    places: Places,
}

#[allow(clippy::large_enum_variant, reason = "`Sides` is boxed as a whole")]
#[derive(Clone, Copy, Debug)]
enum Places {
    Http1 {
        client: Messages,
        server: Messages,
        requests: Methods,
    },
    Http2 {
        client: Frames,
        server: Frames,
    },
    /// The connection has switched to another protocol.
    Tunnel,
}

impl Framing {
    /// Follows nothing; for bytes that are never truncated.
    pub(super) const fn off() -> Self {
        Self {
            sides: None,
            tries: MAX_TRIES,
        }
    }

    /// Advances over `payload` and the `missing` bytes after it, all in one direction.
    #[inline]
    pub(super) fn follow(&mut self, direction: Direction, payload: &[u8], missing: usize) {
        if let Some(sides) = &mut self.sides {
            sides.follow(direction, payload, missing as u64);
        } else if self.tries < MAX_TRIES && !payload.is_empty() {
            self.begin(direction, payload, missing);
        }
    }

    /// The same, for a payload after which nothing is missing, and of which this is known.
    #[inline]
    pub(super) fn follow_parsed(&mut self, direction: Direction, payload: &[u8], parsed: Parsed) {
        let passed = match &mut self.sides {
            Some(sides) => sides.pass(direction, payload.len(), parsed),
            None => 0,
        };
        if passed == 0 || passed < payload.len() {
            self.follow(direction, &payload[passed..], 0);
        }
    }

    /// The minimum number of bytes missing after the truncated `payload`.
    ///
    /// It is the rest of the message or frame at the truncation, or one byte if that is unknown.
    pub(super) fn missing_after(&self, direction: Direction, payload: &[u8]) -> usize {
        let known = match &self.sides {
            Some(sides) => Some(**sides),
            None if self.tries < MAX_TRIES => self.recognise(direction, payload),
            None => None,
        };
        let missing = known.map_or(1, |mut sides| {
            sides.follow(direction, payload, 0);
            sides.missing(direction)
        });
        usize::try_from(missing).unwrap_or(1)
    }

    #[cold]
    fn begin(&mut self, direction: Direction, payload: &[u8], missing: usize) {
        match self.recognise(direction, payload) {
            Some(mut sides) => {
                sides.follow(direction, payload, missing as u64);
                self.sides = Some(Box::new(sides));
            }
            None => self.tries += 1,
        }
    }

    /// The positions before `payload`, if it looks like HTTP.
    fn recognise(&self, direction: Direction, payload: &[u8]) -> Option<Sides> {
        let (from_client, protocol) = match protocol::opening(payload)? {
            Opening::Client(protocol) => (direction, protocol),
            Opening::Server(protocol) => (direction.reverse(), protocol),
        };
        // Earlier bytes of this direction began no message; those of the other direction are unknown.
        let is_first = self.tries == 0;
        let other = |is_other: bool| is_first || !is_other;
        let (client, server) = (
            other(from_client != direction),
            other(from_client == direction),
        );
        let places = match protocol {
            Protocol::Http1 => Places::Http1 {
                client: Messages::new(client),
                server: Messages::new(server),
                requests: Methods::default(),
            },
            Protocol::Http2 | Protocol::Grpc => Places::Http2 {
                client: Frames::new(client, PREFACE.len() as u32),
                server: Frames::new(server, 0),
            },
            _ => return None,
        };
        Some(Sides {
            from_client,
            places,
        })
    }
}

impl Sides {
    /// Advances over the first bytes of an event with `len` bytes, of which this is known, and returns their number.
    fn pass(&mut self, direction: Direction, len: usize, parsed: Parsed) -> usize {
        let is_client = direction == self.from_client;
        match (&mut self.places, parsed) {
            (Places::Http2 { client, server }, Parsed::Frames) => {
                let side = if is_client { client } else { server };
                if side.is_between_frames() { len } else { 0 }
            }
            (
                Places::Http1 {
                    client,
                    server,
                    requests,
                },
                Parsed::Head(head),
            ) => {
                let side = if is_client { client } else { server };
                if !side.take_head(is_client, &head, requests) {
                    return 0;
                }
                if side.is_tunnel() {
                    self.places = Places::Tunnel;
                }
                head.len
            }
            _ => 0,
        }
    }

    fn follow(&mut self, direction: Direction, payload: &[u8], missing: u64) {
        let is_client = direction == self.from_client;
        let is_tunnel = match &mut self.places {
            Places::Http2 { client, server } => {
                let side = if is_client { client } else { server };
                side.follow(payload);
                if missing > 0 {
                    side.skip(missing);
                }
                false
            }
            Places::Http1 {
                client,
                server,
                requests,
            } => {
                let side = if is_client { client } else { server };
                side.follow(is_client, payload, requests);
                if missing > 0 {
                    side.skip(is_client, missing, requests);
                }
                side.is_tunnel()
            }
            Places::Tunnel => false,
        };
        if is_tunnel {
            self.places = Places::Tunnel;
        }
    }

    fn missing(&self, direction: Direction) -> u64 {
        let is_client = direction == self.from_client;
        let missing = match &self.places {
            Places::Http2 { client, server } => if is_client { client } else { server }.missing(),
            Places::Http1 {
                client,
                server,
                requests,
            } => if is_client { client } else { server }.missing(requests),
            Places::Tunnel => 1,
        };
        if missing > MAX_ESTIMATE {
            return 1;
        }
        missing.max(1)
    }
}

#[cfg(test)]
mod parsed_tests;
#[cfg(test)]
mod tests;
