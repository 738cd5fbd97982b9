//! How a connection enters the capture: its endpoints, its client, its label and its handshake.

use crate::model::event::{Connection, Direction, Timestamp, Transport};
use crate::model::protocol::{self, Evidence, Opening, Role};
use crate::model::warning::WarningKind;

use super::super::address::{Placed, StandIn};
use super::super::flow::{Flow, Outlet};
use super::super::frame::{Endpoints, Label};
use super::super::headers;
use super::super::occupancy::{EndpointRequest, Lease};
use super::super::summary::percent;
use super::super::tcp::Conversation;
use super::super::{Context, Handshake, Shared, Sink, mix};
use super::ConnectionState;

/// The endpoints of a connection in the capture.
struct Place {
    endpoints: Endpoints,
    stand_ins: Vec<StandIn>,
    /// The comments on them.
    comments: Vec<String>,
}

impl ConnectionState {
    /// Assigns the connection's addresses and opens its flow, unless that has happened. Comments on the addresses
    /// go to the first frame.
    pub(super) fn open<S: Sink>(
        &mut self,
        time: Timestamp,
        first: Option<(Direction, &[u8])>,
        offset: u64,
        cx: &mut Context<'_, S>,
    ) -> Result<(), S::Error> {
        if self.flow.is_some() {
            return Ok(());
        }
        let (detected, evidence) = protocol::role(&self.connection, first);
        let role = cx.shared.options.role.unwrap_or(detected);
        let Place {
            endpoints,
            stand_ins,
            comments,
        } = self.place(role, offset, cx);
        let handshake = match cx.shared.options.handshake {
            Handshake::Auto => cx.shared.opened > 0,
            Handshake::Always => true,
            Handshake::Never => false,
        };
        let ordinal = cx.shared.opened;
        cx.shared.opened += 1;
        self.note_role(role, evidence, first, &endpoints, (handshake, offset), cx);
        // Comments on the first event do not belong to the handshake.
        let later = std::mem::replace(&mut self.comments, comments.into());
        let label = self.label(ordinal, role, &endpoints, &stand_ins, cx.shared);
        let handshake_role = handshake.then_some(role);
        let mut flow = self.flow_between(endpoints, ordinal, handshake_role, label, cx.shared);
        if handshake {
            let sink = Outlet {
                out: cx.out,
                comments: &mut self.comments,
            };
            flow.open(time, sink)?;
        }
        let comments = std::mem::replace(&mut self.comments, later).take();
        self.comments.prepend(comments);
        if self.ended {
            flow.end_local();
        }
        self.flow = Some(flow);
        Ok(())
    }

    /// Records what the first bytes show about the connection, and reports a guessed client if it opens the handshake.
    fn note_role<S: Sink>(
        &mut self,
        role: Role,
        evidence: Evidence,
        first: Option<(Direction, &[u8])>,
        endpoints: &Endpoints,
        (handshake, offset): (bool, u64),
        cx: &mut Context<'_, S>,
    ) {
        let opening = first.and_then(|(_, bytes)| protocol::opening(bytes));
        if let Some(summary) = self.summary() {
            summary.role = Some(role);
            summary.protocol = summary.protocol.or(opening.map(Opening::protocol));
        }
        if let Some(opening) = opening {
            let server = match role {
                Role::Downstream => endpoints.local,
                Role::Upstream => endpoints.remote,
            };
            cx.shared.port_protocols.add(server.port(), opening);
        }
        if handshake && evidence.is_guess() && cx.shared.options.role.is_none() {
            let client = match role {
                Role::Downstream => endpoints.remote,
                Role::Upstream => endpoints.local,
            };
            let detail = format!("{client} is taken for the client");
            self.note(WarningKind::RoleGuessed, offset, 0, detail, cx);
        }
    }

    /// The flow of the connection between these endpoints. `handshake` is the client's side, if a handshake is shown.
    fn flow_between(
        &self,
        endpoints: Endpoints,
        ordinal: u64,
        handshake: Option<Role>,
        label: Option<Label>,
        shared: &Shared,
    ) -> Flow {
        match self.connection.transport {
            Transport::Udp => Flow::udp(endpoints, label),
            Transport::Tcp => {
                let (local, remote) = (endpoints.local.port(), endpoints.remote.port());
                let ports = u64::from(local) << 16 | u64::from(remote);
                // The seed differs even for the same ports and id. Otherwise a later connection would look like a
                // retransmission.
                let seed = mix(self.id.number ^ mix(ports ^ mix(ordinal)));
                let limit = headers::max_tcp_payload(&endpoints);
                let mss = shared.options.mss.unwrap_or(limit);
                let conversation = Conversation::new(seed, mss, limit, handshake);
                Flow::tcp(endpoints, conversation, label)
            }
        }
    }

    /// Assigns endpoints to the connection's packets, and comments on those that are not the recorded ones.
    fn place<S: Sink>(&mut self, role: Role, offset: u64, cx: &mut Context<'_, S>) -> Place {
        let Shared {
            addresses,
            occupancy,
            options,
            ..
        } = &mut *cx.shared;
        let Placed {
            endpoints: recorded,
            stand_ins,
            moved,
        } = addresses.place(self.id.number, &self.connection, role);
        let request = EndpointRequest {
            id: self.id,
            role,
            lease: match (options.exclusive, self.is_streamed) {
                (true, _) => Lease::Firm,
                (false, true) => Lease::Restartable,
                (false, false) => Lease::Revocable,
            },
            namespace: self.connection.namespace.as_deref(),
        };
        let endpoints = occupancy.occupy(recorded, request, addresses);
        let mut comments: Vec<_> = stand_ins
            .iter()
            .map(|stand_in| format!("stand-in: {stand_in}"))
            .collect();
        if !stand_ins.is_empty() {
            let detail: Vec<_> = stand_ins.iter().map(ToString::to_string).collect();
            let Connection { local, remote, .. } = &self.connection;
            let connects_late = local.is_none() && remote.is_some() && self.is_streamed;
            let kind = match role {
                Role::Upstream if connects_late => WarningKind::StandInLocal,
                _ => WarningKind::StandInAddress,
            };
            self.stood_in = Some((kind, offset, detail.join(", ")));
        }
        let namespace = self.connection.namespace.as_deref();
        let namespace = namespace.map(|namespace| namespace.escape_debug().to_string());
        let client = |ends: &Endpoints| match role {
            Role::Downstream => ends.remote,
            Role::Upstream => ends.local,
        };
        if moved.is_some() || endpoints != recorded {
            let was = moved.map_or(client(&recorded), |(was, _)| was);
            let mut detail = format!("{} for {was}", client(&endpoints));
            if let Some(namespace) = &namespace {
                detail = format!("{detail} in network namespace {namespace}");
            }
            comments.push(format!("stand-in: {detail}, which another connection has"));
            self.note(WarningKind::PortTaken, offset, 0, detail, cx);
        }
        comments.extend(namespace.map(|namespace| format!("network namespace: {namespace}")));
        if cx.shared.options.labels.is_none() {
            comments.clear();
        }
        Place {
            endpoints,
            stand_ins,
            comments,
        }
    }

    /// The connection's label, if labels are requested.
    fn label(
        &self,
        number: u64,
        role: Role,
        endpoints: &Endpoints,
        stand_ins: &[StandIn],
        shared: &Shared,
    ) -> Option<Label> {
        let sources = shared.options.labels.as_ref()?;
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
        let mut description = format!("{source}, trace {}", self.id.number);
        if let Some(namespace) = &self.connection.namespace {
            description = format!(
                "{description}, network namespace {}",
                namespace.escape_debug()
            );
        }
        if let Some(&rate) = shared.sample_rates.get(&self.id.source) {
            description = format!("{description}, sample rate {}", percent(rate));
        }
        let name = |stand_in: &StandIn| Some((stand_in.address.ip(), stand_in.name()?));
        Some(Label {
            number,
            name: format!("{side} {server} {}", self.id),
            description,
            names: stand_ins.iter().filter_map(name).collect(),
        })
    }
}
