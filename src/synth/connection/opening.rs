//! How a connection comes into the capture: its endpoints, its client, its label, its handshake.

use crate::event::{Direction, Endpoint, Timestamp, Transport};
use crate::notice::Kind;
use crate::protocol::{self, Role};

use super::super::address::StandIn;
use super::super::frame::{self, Endpoints, Label};
use super::super::link::{Link, Sink};
use super::super::tcp::Conversation;
use super::super::{Context, Handshake, mix};
use super::Tracked;

impl Tracked {
    /// Gives the connection its addresses and its side on the wire, unless it has them. What there is
    /// to say about that goes to the first frame.
    pub(super) fn open<E>(
        &mut self,
        time: Timestamp,
        first: Option<(Direction, &[u8])>,
        offset: u64,
        cx: &mut Context<'_, E>,
    ) -> Result<(), E> {
        if self.wire.is_some() {
            return Ok(());
        }
        let (endpoints, stand_ins) = cx.shared.addresses.place(self.id, &self.connection);
        if !stand_ins.is_empty() {
            let detail: Vec<_> = stand_ins.iter().map(ToString::to_string).collect();
            self.stood_in = Some((offset, detail.join(", ")));
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
        let spoken = first.and_then(|(_, bytes)| protocol::protocol(bytes));
        if let Some(story) = self.story() {
            story.role = Some(role);
            story.protocol = story.protocol.or(spoken);
        }
        if let Some(spoken) = spoken {
            let server = match role {
                Role::Downstream => endpoints.local,
                Role::Upstream => endpoints.remote,
            };
            cx.shared.spoken.insert((server.port(), spoken));
        }
        if handshake && evidence.is_guess() && cx.shared.options.role.is_none() {
            let client = match role {
                Role::Downstream => endpoints.remote,
                Role::Upstream => endpoints.local,
            };
            let detail = format!("{client} is taken for the client");
            self.note(Kind::RoleGuessed, offset, 0, detail, cx);
        }
        let mut opening = 0;
        let label = cx.shared.options.labels.as_ref().map(|sources| {
            opening = stand_ins.len();
            let said = stand_ins
                .iter()
                .map(|stand_in| format!("stand-in: {stand_in}"));
            self.comments.splice(0..0, said);
            self.label(ordinal, role, &endpoints, &stand_ins, sources)
        });
        let mut link = match self.connection.transport {
            Transport::Udp => Link::udp(endpoints, label),
            Transport::Tcp => {
                let (local, remote) = (endpoints.local.port(), endpoints.remote.port());
                let ports = u64::from(local) << 16 | u64::from(remote);
                // Different numbers even for the same ports and id, or what comes later would pass for
                // the same bytes sent again.
                let seed = mix(self.id.number ^ mix(ports ^ mix(ordinal)));
                let limit = frame::max_tcp_payload(&endpoints);
                let mss = cx.shared.options.mss.unwrap_or(limit);
                let handshake = handshake.then_some(role);
                let conversation = Conversation::new(seed, mss, limit, handshake);
                Link::tcp(endpoints, conversation, label)
            }
        };
        if handshake {
            // What there is to say about the first event is not about the handshake.
            let later = self.comments.split_off(opening);
            let sink = Sink {
                out: cx.out,
                comments: &mut self.comments,
            };
            link.open(time, sink)?;
            self.comments = later;
        }
        if self.ended {
            link.end_local();
        }
        self.wire = Some(link);
        Ok(())
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
