//! The side of Envoy on which a connection was tapped, which determines its client.
//!
//! Invariant: the result depends only on the connection and its first bytes.

use crate::model::event::{Connection, Direction, Endpoint};

use super::{Opening, opening};

/// The first ephemeral port of Linux (`ip_local_port_range`). IANA's range begins higher.
const FIRST_EPHEMERAL_PORT: u16 = 32_768;

/// The side of Envoy on which a tap recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Between a client and Envoy: the remote endpoint is the client.
    Downstream,
    /// Between Envoy and a server: the local endpoint is the client.
    Upstream,
}

impl Role {
    /// The direction of the bytes that the client sent.
    pub const fn from_client(self) -> Direction {
        match self {
            Self::Downstream => Direction::Read,
            Self::Upstream => Direction::Write,
        }
    }
}

/// The evidence for a [`Role`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Evidence {
    /// The first bytes are those of an HTTP client or server.
    FirstBytes,
    /// The local address is missing: only an upstream tap starts to record before the connection has one.
    NoLocalAddress,
    /// One port is ephemeral, the other is not.
    Ports,
    /// No other evidence than which side sent the first bytes.
    FirstSpeaker,
    /// No evidence at all.
    Nothing,
}

impl Evidence {
    /// Whether it is no more than a guess.
    pub const fn is_guess(self) -> bool {
        matches!(self, Self::FirstSpeaker | Self::Nothing)
    }
}

/// Determines the side of Envoy on which `connection` was tapped, and the evidence for it.
///
/// `first` holds the direction of the first bytes, and the bytes.
pub fn role(connection: &Connection, first: Option<(Direction, &[u8])>) -> (Role, Evidence) {
    let sent_by = |direction, client: bool| match (direction, client) {
        (Direction::Read, true) | (Direction::Write, false) => Role::Downstream,
        (Direction::Read, false) | (Direction::Write, true) => Role::Upstream,
    };
    if let Some((direction, bytes)) = first
        && let Some(opening) = opening(bytes)
    {
        let client = matches!(opening, Opening::Client(_));
        return (sent_by(direction, client), Evidence::FirstBytes);
    }
    if connection.local.is_none() && connection.remote.is_some() {
        return (Role::Upstream, Evidence::NoLocalAddress);
    }
    let port = |endpoint: &Option<Endpoint>| match endpoint {
        Some(Endpoint::Ip(_, port) | Endpoint::Host(_, port)) if *port != 0 => Some(*port),
        _ => None,
    };
    if let (Some(local), Some(remote)) = (port(&connection.local), port(&connection.remote)) {
        match (local < FIRST_EPHEMERAL_PORT, remote < FIRST_EPHEMERAL_PORT) {
            (true, false) => return (Role::Downstream, Evidence::Ports),
            (false, true) => return (Role::Upstream, Evidence::Ports),
            _ => {}
        }
    }
    match first {
        Some((direction, _)) => (sent_by(direction, true), Evidence::FirstSpeaker),
        None => (Role::Downstream, Evidence::Nothing),
    }
}
