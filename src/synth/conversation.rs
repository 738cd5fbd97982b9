//! Maps events to conversations, for callers that need the mapping before packets are made.
//!
//! Invariant: events of one conversation here are packets of one conversation in the capture.

use foldhash::HashMap;

use crate::model::event::{Connection, Event, Http, TraceId, What};
use crate::model::protocol::Role;

/// What the events of one conversation have in common.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ConversationId {
    /// A tapped connection.
    Socket(TraceId),
    /// The HTTP exchanges of a connection whose endpoints are both recorded.
    Exchanges(Connection),
    /// An HTTP exchange without a fully recorded connection.
    Exchange(TraceId),
}

impl ConversationId {
    /// The conversation of an HTTP exchange.
    pub(super) fn of_exchange(id: TraceId, connection: Option<&Connection>) -> Self {
        match connection {
            Some(connection) if connection.local.is_some() && connection.remote.is_some() => {
                Self::Exchanges(connection.clone())
            }
            _ => Self::Exchange(id),
        }
    }
}

/// The connection on which an HTTP exchange is shown, and Envoy's role on it: the server on the downstream
/// connection, or the client if only the upstream connection is recorded.
pub(super) fn shown_connection<'a>(
    downstream: Option<&'a Connection>,
    upstream: Option<&'a Connection>,
) -> (Option<&'a Connection>, Role) {
    let known = |connection: &&Connection| !connection.is_empty();
    match (downstream.filter(known), upstream.filter(known)) {
        (None, Some(upstream)) => (Some(upstream), Role::Upstream),
        (downstream, _) => (downstream, Role::Downstream),
    }
}

/// Assigns events to conversations. The events have to come in order.
#[derive(Debug, Default)]
pub struct Conversations {
    exchanges: HashMap<TraceId, ConversationId>,
}

impl Conversations {
    /// The conversation in which `event` makes packets; `None` if it makes none.
    pub fn of(&mut self, event: &Event) -> Option<ConversationId> {
        let id = event.trace;
        match &event.what {
            What::Data { .. } | What::Closed => Some(ConversationId::Socket(id)),
            What::Http(Http::Begin {
                downstream,
                upstream,
            }) => {
                let (shown, _) = shown_connection(downstream.as_deref(), upstream.as_deref());
                let conversation = ConversationId::of_exchange(id, shown);
                self.exchanges.insert(id, conversation);
                None
            }
            What::Http(Http::Part { .. }) => {
                let known = self.exchanges.get(&id).cloned();
                Some(known.unwrap_or(ConversationId::Exchange(id)))
            }
            What::Http(Http::End) => {
                self.exchanges.remove(&id);
                None
            }
            What::Begin
            | What::Over
            | What::Connection(_)
            | What::Truncated(_)
            | What::Failed
            | What::Late
            | What::Skipped(_)
            | What::SampleRate(_)
            | What::Nothing => None,
        }
    }
}
