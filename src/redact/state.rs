//! The protocol of a connection, and the position in both directions.

use crate::model::event::Direction;
use crate::model::protocol::{Opening, Protocol};

use super::connection::Rules;
use super::http1::{Messages, Outcome, Requests};
use super::http2::Frames;
use super::patch::Patch;

#[derive(Debug, Default)]
pub(super) enum ProtocolState {
    #[default]
    Unknown,
    Http1(Box<Http1>),
    Http2(Box<Http2>),
    Other,
}

/// The positions in both directions of a connection.
#[derive(Debug)]
struct Sides<T> {
    from_client: Direction,
    client: T,
    server: T,
}

impl<T> Sides<T> {
    fn of_mut(&mut self, direction: Direction) -> &mut T {
        match direction == self.from_client {
            true => &mut self.client,
            false => &mut self.server,
        }
    }
}

#[derive(Debug)]
pub(super) struct Http1 {
    sides: Sides<Messages>,
    requests: Requests,
}

#[derive(Debug)]
pub(super) struct Http2 {
    sides: Sides<Frames>,
}

impl ProtocolState {
    /// The state of a connection with this opening; `late` marks the directions without their first bytes.
    pub(super) fn of(opening: Opening, direction: Direction, mut late: [bool; 2]) -> Self {
        match opening {
            Opening::Client(Protocol::Http1) => Self::http1(direction, late),
            Opening::Server(Protocol::Http1) => Self::http1(direction.reverse(), late),
            Opening::Client(Protocol::Http2 | Protocol::Grpc) => {
                // The preface is always the first that a client sends.
                late[direction as usize] = false;
                Self::http2(direction, late)
            }
            Opening::Server(Protocol::Http2 | Protocol::Grpc) => {
                Self::http2(direction.reverse(), late)
            }
            Opening::Client(_) | Opening::Server(_) => Self::Other,
        }
    }

    pub(super) fn http1(from_client: Direction, late: [bool; 2]) -> Self {
        let is_certain = |direction: Direction| !late[direction as usize];
        let sides = Sides {
            from_client,
            client: Messages::new(true, is_certain(from_client)),
            server: Messages::new(false, is_certain(from_client.reverse())),
        };
        let mut http1 = Http1 {
            sides,
            requests: Requests::default(),
        };
        http1.note_losses();
        Self::Http1(Box::new(http1))
    }

    pub(super) fn http2(from_client: Direction, late: [bool; 2]) -> Self {
        let frames = |direction: Direction| match late[direction as usize] {
            true => Frames::unknown(),
            false => Frames::new(direction == from_client),
        };
        let sides = Sides {
            from_client,
            client: frames(from_client),
            server: frames(from_client.reverse()),
        };
        Self::Http2(Box::new(Http2 { sides }))
    }
}

impl Http1 {
    pub(super) fn side(&mut self, direction: Direction) -> &mut Messages {
        self.sides.of_mut(direction)
    }

    /// Forgets which request a response belongs to, if requests may be missing.
    pub(super) fn note_losses(&mut self) {
        if !self.sides.client.is_certain() {
            self.requests.lose();
        }
    }

    pub(super) fn follow(
        &mut self,
        direction: Direction,
        at: usize,
        patch: &mut Patch<'_>,
        rules: Rules<'_>,
    ) -> Outcome {
        let Rules { names, has_bodies } = rules;
        let side = self.sides.of_mut(direction);
        let outcome = side.follow(at, patch, names, has_bodies, &mut self.requests);
        self.note_losses();
        outcome
    }
}

impl Http2 {
    pub(super) fn side(&mut self, direction: Direction) -> &mut Frames {
        self.sides.of_mut(direction)
    }

    pub(super) fn follow(
        &mut self,
        direction: Direction,
        at: usize,
        patch: &mut Patch<'_>,
        rules: Rules<'_>,
    ) {
        let Rules { names, has_bodies } = rules;
        let table_size = self.side(direction).follow(at, patch, names, has_bodies);
        if let Some(size) = table_size {
            self.side(direction.reverse()).allow(size);
        }
    }
}
