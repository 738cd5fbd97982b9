//! How a connection comes into the capture: its endpoints, its client, its label, its handshake.

use std::sync::Arc;

use crate::event::{Direction, Endpoint, Timestamp, Transport};
use crate::notice::Kind;
use crate::protocol::{self, Protocol, Role};

use super::super::address::StandIn;
use super::super::frame::{self, Endpoints, Label};
use super::super::link::{Carrier, Link, Sink};
use super::super::tcp::Conversation;
use super::super::{Context, Handshake, mix};
use super::Tracked;

impl Tracked {
    /// Gives the connection its addresses and its side on the wire, unless it has them. What there is
    /// to say about that and has no frame of its own is for the next one.
    pub(super) fn open<E>(
        &mut self,
        time: Timestamp,
        first: Option<(Direction, &[u8])>,
        offset: u64,
        cx: &mut Context<'_, E>,
    ) -> Result<Vec<String>, E> {
        if self.wire.is_some() {
            return Ok(Vec::new());
        }
        let (endpoints, stand_ins) = cx.shared.addresses.place(self.id, &self.connection);
        if !stand_ins.is_empty() {
            let detail: Vec<_> = stand_ins.iter().map(ToString::to_string).collect();
            self.note(Kind::StandInAddress, offset, 0, detail.join(", "), cx);
        }
        let (told, evidence) = protocol::role(&self.connection, first);
        let role = cx.shared.options.role.unwrap_or(told);
        let recorded = endpoints;
        let endpoints = cx.shared.occupy(recorded, role, self.id);
        if endpoints != recorded {
            let (was, is) = match role {
                Role::Downstream => (recorded.remote, endpoints.remote),
                Role::Upstream => (recorded.local, endpoints.local),
            };
            self.note(Kind::PortTaken, offset, 0, format!("{is} for {was}"), cx);
        }
        let handshake = match cx.shared.options.handshake {
            Handshake::Auto => cx.shared.opened > 0,
            Handshake::Always => true,
            Handshake::Never => false,
        };
        let ordinal = cx.shared.opened;
        cx.shared.opened += 1;
        self.story.role = Some(role);
        if let (None, Some((_, bytes))) = (self.story.protocol, first) {
            self.story.protocol = protocol::protocol(bytes);
        }
        if first.is_some_and(|(_, bytes)| protocol::protocol(bytes) == Some(Protocol::Http2)) {
            let server = match role {
                Role::Downstream => endpoints.local,
                Role::Upstream => endpoints.remote,
            };
            cx.shared.http2_ports.insert(server.port());
        }
        if handshake && evidence.is_guess() && cx.shared.options.role.is_none() {
            let client = match role {
                Role::Downstream => endpoints.remote,
                Role::Upstream => endpoints.local,
            };
            let detail = format!("{client} is taken for the client");
            self.note(Kind::RoleGuessed, offset, 0, detail, cx);
        }
        let carrier = match self.connection.transport {
            Transport::Udp => Carrier::Udp,
            Transport::Tcp => {
                let (local, remote) = (endpoints.local.port(), endpoints.remote.port());
                let ports = u64::from(local) << 16 | u64::from(remote);
                // Different numbers even for the same ports and id, or what comes later would pass for
                // the same bytes sent again.
                let seed = mix(self.id.number ^ mix(ports ^ mix(ordinal)));
                let limit = frame::max_tcp_payload(&endpoints);
                let mss = cx.shared.options.mss.unwrap_or(limit);
                Carrier::Tcp(Conversation::new(
                    seed,
                    mss,
                    limit,
                    handshake.then_some(role),
                ))
            }
        };
        let mut comments = Vec::new();
        let label = cx.shared.options.labels.as_ref().map(|sources| {
            comments.extend(
                stand_ins
                    .iter()
                    .map(|stand_in| format!("stand-in: {stand_in}")),
            );
            Arc::new(self.label(ordinal, role, &endpoints, &stand_ins, sources))
        });
        let mut link = Link::new(endpoints, carrier, label);
        let rest;
        if handshake {
            rest = Vec::new();
            link.open(
                time,
                Sink {
                    out: cx.out,
                    comments,
                },
            )?;
        } else {
            rest = comments;
        }
        self.wire = Some(link);
        Ok(rest)
    }

    /// What a person calls the connection.
    fn label(
        &self,
        number: u64,
        role: Role,
        endpoints: &Endpoints,
        stand_ins: &[StandIn],
        sources: &[String],
    ) -> Label {
        let (side, server, placed) = match role {
            Role::Downstream => ("downstream", &self.connection.local, endpoints.local),
            Role::Upstream => ("upstream", &self.connection.remote, endpoints.remote),
        };
        let server = server
            .as_ref()
            .map_or_else(|| placed.to_string(), ToString::to_string);
        let source = sources
            .get(self.id.source as usize)
            .map_or("", String::as_str);
        let name = |stand_in: &StandIn| {
            let recorded = stand_in.recorded.as_ref()?;
            let name = match recorded {
                // The port is the packet's own.
                Endpoint::Host(host, _) => host.clone(),
                other => other.to_string(),
            };
            Some((stand_in.address.ip(), name))
        };
        Label {
            number,
            name: format!("{side} {server} {}", self.id),
            description: format!("{source}, trace {}", self.id.number),
            names: stand_ins.iter().filter_map(name).collect(),
        }
    }
}
