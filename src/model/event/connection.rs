//! The endpoints of a connection, as far as a trace records them.

use std::fmt;
use std::net::IpAddr;

/// The transport protocol of a socket address.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Transport {
    /// TCP; also assumed if the trace records none.
    #[default]
    Tcp,
    /// UDP.
    Udp,
}

/// One endpoint of a connection, as recorded.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Endpoint {
    /// An IP address and a port; port 0 if the trace has none.
    Ip(IpAddr, u16),
    /// A name instead of an IP address, and a port; port 0 if the trace has none.
    Host(String, u16),
    /// A Unix domain socket's path; `@` stands for the leading NUL of an abstract one.
    Pipe(String),
    /// An internal listener of Envoy, and an endpoint of it.
    Internal {
        /// The listener's name.
        listener: String,
        /// The endpoint's id; empty if there is none.
        endpoint: String,
    },
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(IpAddr::V6(ip), port) => write!(f, "[{ip}]:{port}"),
            Self::Ip(ip, port) => write!(f, "{ip}:{port}"),
            Self::Host(host, port) => write!(f, "{}:{port}", host.escape_debug()),
            Self::Pipe(path) => write!(f, "unix:{}", path.escape_debug()),
            Self::Internal { listener, endpoint } if endpoint.is_empty() => {
                write!(f, "envoy://{}", listener.escape_debug())
            }
            Self::Internal { listener, endpoint } => {
                write!(
                    f,
                    "envoy://{}/{}",
                    listener.escape_debug(),
                    endpoint.escape_debug()
                )
            }
        }
    }
}

/// The endpoints of a connection, as far as the trace records them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Connection {
    /// TCP or UDP.
    pub transport: Transport,
    /// Envoy's endpoint.
    pub local: Option<Endpoint>,
    /// The peer's endpoint: the client for a downstream tap, the server for an upstream tap.
    pub remote: Option<Endpoint>,
    /// The network namespace of Envoy's endpoint, if the listener is configured with one.
    pub namespace: Option<String>,
}

impl Connection {
    /// Adds the endpoints and the namespace of `other`. Returns whether anything changed.
    pub(crate) fn learn(&mut self, other: &Self) -> bool {
        let before = self.clone();
        self.transport = other.transport;
        for (known, named) in [
            (&mut self.local, &other.local),
            (&mut self.remote, &other.remote),
        ] {
            if named.is_some() {
                known.clone_from(named);
            }
        }
        if other.namespace.is_some() {
            self.namespace.clone_from(&other.namespace);
        }
        before != *self
    }

    /// Whether neither endpoint is known.
    pub const fn is_empty(&self) -> bool {
        self.local.is_none() && self.remote.is_none()
    }
}
