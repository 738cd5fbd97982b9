//! The connection of a message: its addresses, in either numbering of their fields.

use std::net::IpAddr;

use crate::model::event::{Connection, Endpoint, Transport};

use super::decode::decode;
use super::decode::proto::{capture, tap};
use super::element::TracePart;
use super::error::Damage;
use crate::trace::binary::wire::{Fields, WireValue};

/// The field numbers of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Numbering {
    /// Local 2, remote 3: before Envoy 1.28.
    Old,
    /// Local 1, remote 2: since then.
    New,
}

/// Decodes a `TraceWrapper`'s connection, and detects the numbering from the shape of the fields.
///
/// A single field 2 is the new remote address, because an old Envoy always knew its local address.
pub(super) fn of_tap(bytes: &[u8], offset: u64) -> Result<(Connection, Option<Numbering>), Damage> {
    let numbering =
        Fields::new(bytes).find_map(|(header, _)| match (header.number, header.value) {
            (1, WireValue::Varint(_)) | (3, _) => Some(Numbering::Old),
            (1, WireValue::Len(_)) => Some(Numbering::New),
            _ => None,
        });
    let connection = if numbering == Some(Numbering::Old) {
        let message = decode::<tap::OldConnection>(bytes, TracePart::Connection, offset)?;
        connection(message.local_address, message.remote_address)
    } else {
        let message = decode::<tap::Connection>(bytes, TracePart::Connection, offset)?;
        connection(message.local_address, message.remote_address)
    };
    Ok((connection, numbering))
}

/// Decodes the connection of a bare `Trace`, and the id in it.
pub(super) fn of_capture(bytes: &[u8], offset: u64) -> Result<(Connection, u64), Damage> {
    let message = decode::<capture::Connection>(bytes, TracePart::Connection, offset)?;
    let connection = connection(message.local_address, message.remote_address);
    Ok((connection, message.id))
}

/// The connection between these addresses.
pub(super) fn connection(local: Option<tap::Address>, remote: Option<tap::Address>) -> Connection {
    let is_udp = |address: &Option<tap::Address>| {
        use tap::address::Address;
        match address
            .as_ref()
            .and_then(|address| address.address.as_ref())
        {
            Some(Address::SocketAddress(socket)) => {
                socket.protocol == tap::socket_address::Protocol::Udp as i32
            }
            _ => false,
        }
    };
    let transport = if is_udp(&local) || is_udp(&remote) {
        Transport::Udp
    } else {
        Transport::Tcp
    };
    // Envoy's end is the local one, or the only one that is recorded.
    let namespace = [&local, &remote].into_iter().find_map(namespace);
    Connection {
        transport,
        local: local.and_then(endpoint),
        remote: remote.and_then(endpoint),
        namespace,
    }
}

/// The path of the network namespace of an address's socket, if recorded.
fn namespace(address: &Option<tap::Address>) -> Option<String> {
    use tap::address::Address;
    match address.as_ref()?.address.as_ref()? {
        Address::SocketAddress(socket) if !socket.network_namespace_filepath.is_empty() => {
            Some(text(&socket.network_namespace_filepath))
        }
        _ => None,
    }
}

/// A name for display. Bytes that are not UTF-8 are replaced.
fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn endpoint(address: tap::Address) -> Option<Endpoint> {
    use tap::address::Address;
    use tap::envoy_internal_address::AddressNameSpecifier;
    use tap::socket_address::PortSpecifier;
    match address.address? {
        Address::SocketAddress(socket) => {
            let port = match socket.port_specifier {
                Some(PortSpecifier::PortValue(port)) => u16::try_from(port).unwrap_or(0),
                Some(PortSpecifier::NamedPort(_)) | None => 0,
            };
            if socket.address.is_empty() && port == 0 {
                return None;
            }
            let host = text(&socket.address);
            // An IPv6 address may name its zone (RFC 4007), which no packet carries.
            let ip = host.split_once('%').map_or(host.as_str(), |(ip, _zone)| ip);
            Some(match ip.parse::<IpAddr>() {
                Ok(ip) => Endpoint::Ip(ip, port),
                Err(_) => Endpoint::Host(host, port),
            })
        }
        Address::Pipe(pipe) => Some(Endpoint::Pipe(text(&pipe.path))),
        Address::EnvoyInternalAddress(internal) => Some(Endpoint::Internal {
            listener: match internal.address_name_specifier {
                Some(AddressNameSpecifier::ServerListenerName(name)) => text(&name),
                None => String::new(),
            },
            endpoint: text(&internal.endpoint_id),
        }),
    }
}
