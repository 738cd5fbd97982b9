//! Which conversation an event belongs to, for whoever has to know before its packets are made.

use foldhash::HashMap;

use crate::event::{Connection, Event, Http, TraceId, What};

/// What the events of one conversation have in common.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ConversationId {
    /// A tapped connection.
    Socket(TraceId),
    /// The HTTP exchanges of a downstream connection, which is recorded in full.
    Exchanges(Connection),
    /// An HTTP exchange of a connection that is not.
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

/// Tells the conversations of events, which have to come in their order.
#[derive(Debug, Default)]
pub struct Conversations {
    exchanges: HashMap<TraceId, ConversationId>,
}

impl Conversations {
    /// The conversation in which `event` makes packets; none where it makes none.
    pub fn of(&mut self, event: &Event) -> Option<ConversationId> {
        let id = event.trace;
        match &event.what {
            What::Data { .. } | What::Closed => Some(ConversationId::Socket(id)),
            What::Http(Http::Begin { downstream, .. }) => {
                let conversation = ConversationId::of_exchange(id, downstream.as_deref());
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
