//! Elements of a trace into events of the model. The generated protobuf types stop here.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::num::NonZeroU64;

use bytes::Bytes;

use crate::event::{
    self, Connection, Direction, Endpoint, Event, Field, Http, Side, Timestamp, TraceId, Transport,
    What,
};

use super::detect::Generation;
use super::element::{Element, Form, Part, Value};
use super::error::{Damage, Fault};
use super::wire::{Fields, WireValue};

#[allow(
    clippy::all,
    missing_docs,
    unreachable_pub,
    dead_code,
    reason = "generated from proto/"
)]
mod proto {
    pub mod tap {
        include!(concat!(env!("OUT_DIR"), "/capture2pcap.tap.rs"));
    }
    pub mod capture {
        include!(concat!(env!("OUT_DIR"), "/capture2pcap.capture.rs"));
    }
}
use proto::{capture, tap};

/// Makes events of elements.
#[derive(Clone, Debug)]
pub(super) struct Decoder {
    generation: Generation,
    /// The connection that the message around the elements is about.
    trace: TraceId,
    form: Form,
    /// Whether `Begin` has been told of this message. It waits for the trace id, which comes first.
    begun: bool,
    /// Which numbering the last connection had that shows one.
    pub(super) numbering: Option<Numbering>,
    /// How many buffered HTTP exchanges there were.
    exchanges: u64,
    /// Events that are decoded and not fetched yet.
    pub(super) ready: VecDeque<Event>,
}

impl Decoder {
    pub(super) fn new(generation: Generation, source: u32) -> Self {
        Self {
            generation,
            trace: TraceId { source, number: 0 },
            form: Form::Buffered,
            begun: false,
            numbering: None,
            exchanges: 0,
            ready: VecDeque::new(),
        }
    }

    /// Takes an element; what comes of it stands in `ready`.
    pub(super) fn element(&mut self, element: Element) -> Result<(), Damage> {
        let offset = element.offset;
        match element.value {
            Value::Begin(form) => {
                self.trace.number = 0;
                self.form = form;
                // What is streamed says nothing by its messages.
                self.begun = form == Form::Streamed;
            }
            Value::TraceId(id) => self.trace.number = id,
            Value::Connection(bytes) => {
                let connection = match self.generation {
                    Generation::Tap => {
                        let (connection, numbering) = tap_connection(&bytes, offset)?;
                        self.numbering = numbering.or(self.numbering);
                        connection
                    }
                    Generation::Capture => {
                        let message =
                            decode::<capture::Connection>(bytes, Part::Connection, offset)?;
                        // A trace of this generation is one connection, which begins here.
                        self.trace.number = message.id;
                        self.begun = false;
                        connection(message.local_address, message.remote_address)
                    }
                };
                self.push(offset, Time::default(), None, What::Connection(connection));
            }
            Value::Event(bytes) => self.event(bytes, offset)?,
            Value::Truncated(direction, true) => {
                self.push(offset, Time::default(), None, What::Truncated(direction));
            }
            Value::Truncated(_, false) => {}
            Value::HttpBuffered(bytes) => self.http_buffered(bytes, offset)?,
            Value::HttpSegment(bytes) => {
                let segment =
                    decode::<tap::HttpStreamedTraceSegment>(bytes, Part::HttpSegment, offset)?;
                self.trace.number = segment.trace_id;
                if let Some((side, part)) = segment.message_piece.map(http_piece) {
                    let last = false;
                    self.http(offset, Time::default(), Http::Part { side, part, last });
                }
            }
        }
        Ok(())
    }

    fn push(&mut self, offset: u64, time: Time, seq_num: Option<NonZeroU64>, what: What) {
        if !self.begun {
            self.begun = true;
            let begin = self.tell(offset, Time::default(), None, What::Begin);
            self.ready.push_back(begin);
        }
        let event = self.tell(offset, time, seq_num, what);
        self.ready.push_back(event);
    }

    const fn tell(
        &self,
        offset: u64,
        time: Time,
        seq_num: Option<NonZeroU64>,
        what: What,
    ) -> Event {
        let Time {
            time,
            adjusted: time_adjusted,
        } = time;
        Event {
            trace: self.trace,
            offset,
            time,
            time_adjusted,
            seq_num,
            next_seq: None,
            what,
        }
    }

    fn event(&mut self, bytes: Bytes, offset: u64) -> Result<(), Damage> {
        let (timestamp, seq_num, what) = match self.generation {
            Generation::Tap => {
                let event = decode::<tap::SocketEvent>(bytes, Part::Event, offset)?;
                if let Some(told) = event.connection {
                    let told = connection(told.local_address, told.remote_address);
                    self.push(offset, Time::default(), None, What::Connection(told));
                }
                (
                    event.timestamp,
                    event.seq_num,
                    tap_event(event.event_selector),
                )
            }
            Generation::Capture => {
                let event = decode::<capture::Event>(bytes, Part::Event, offset)?;
                (event.timestamp, 0, capture_event(event.event_selector))
            }
        };
        let time = Time::of(timestamp);
        // Buffered traces do not count, and say so with a 0 in JSON.
        let seq_num = NonZeroU64::new(seq_num).filter(|_| self.form == Form::Streamed);
        self.push(offset, time, seq_num, what);
        Ok(())
    }
}

/// A recorded time, and whether it had to be adjusted.
#[derive(Clone, Copy, Debug, Default)]
struct Time {
    time: Option<Timestamp>,
    adjusted: bool,
}

impl Time {
    fn of(recorded: Option<tap::Timestamp>) -> Self {
        let Some(recorded) = recorded else {
            return Self::default();
        };
        let (time, adjusted) = Timestamp::from_parts(recorded.seconds, recorded.nanos);
        Self {
            time: Some(time),
            adjusted,
        }
    }
}

impl Decoder {
    fn http(&mut self, offset: u64, time: Time, http: Http) {
        let event = self.tell(offset, time, None, What::Http(http));
        self.ready.push_back(event);
    }

    /// Takes a whole exchange apart.
    fn http_buffered(&mut self, bytes: Bytes, offset: u64) -> Result<(), Damage> {
        let exchange = decode::<tap::HttpBufferedTrace>(bytes, Part::HttpBuffered, offset)?;
        // Only the file's name holds an id. Within an input, a running number tells them apart.
        self.trace.number = self.exchanges;
        self.exchanges += 1;
        let downstream = exchange
            .downstream_connection
            .map(|told| connection(told.local_address, told.remote_address));
        self.http(offset, Time::default(), Http::Begin(downstream));
        let sides = [
            (Side::Request, exchange.request),
            (Side::Response, exchange.response),
        ];
        for (side, message) in sides {
            let Some(message) = message else { continue };
            let mut time = Time::of(message.headers_received_time);
            let mut parts = vec![event::Part::Headers(fields(message.headers))];
            parts.extend(message.body.map(http_body));
            if !message.trailers.is_empty() {
                parts.push(event::Part::Trailers(fields(message.trailers)));
            }
            let count = parts.len();
            for (i, part) in parts.into_iter().enumerate() {
                let last = i + 1 == count;
                self.http(offset, time, Http::Part { side, part, last });
                // Body and trailers have no time of their own, so there is nothing wrong with it.
                time.adjusted = false;
            }
        }
        self.http(offset, Time::default(), Http::End);
        Ok(())
    }
}

fn http_piece(piece: tap::http_streamed_trace_segment::MessagePiece) -> (Side, event::Part) {
    use tap::http_streamed_trace_segment::MessagePiece;
    match piece {
        MessagePiece::RequestHeaders(map) => {
            (Side::Request, event::Part::Headers(fields(map.headers)))
        }
        MessagePiece::RequestBodyChunk(body) => (Side::Request, http_body(body)),
        MessagePiece::RequestTrailers(map) => {
            (Side::Request, event::Part::Trailers(fields(map.headers)))
        }
        MessagePiece::ResponseHeaders(map) => {
            (Side::Response, event::Part::Headers(fields(map.headers)))
        }
        MessagePiece::ResponseBodyChunk(body) => (Side::Response, http_body(body)),
        MessagePiece::ResponseTrailers(map) => {
            (Side::Response, event::Part::Trailers(fields(map.headers)))
        }
    }
}

fn http_body(body: tap::Body) -> event::Part {
    let Body {
        payload,
        truncated,
        as_string,
    } = Body::of(body);
    event::Part::Body {
        payload,
        truncated,
        as_string,
    }
}

fn fields(headers: Vec<tap::HeaderValue>) -> Vec<Field> {
    let field = |header: tap::HeaderValue| Field {
        name: header.key,
        // A value that is not UTF-8 stands in a field of its own, and JSON prints both.
        value: if header.raw_value.is_empty() {
            header.value
        } else {
            header.raw_value
        },
    };
    headers.into_iter().map(field).collect()
}

/// A body's bytes, in whichever field they are.
#[derive(Default)]
struct Body {
    payload: Bytes,
    /// Whether Envoy cut them.
    truncated: bool,
    as_string: bool,
}

impl Body {
    fn of(body: tap::Body) -> Self {
        use tap::body::BodyType;
        let truncated = body.truncated;
        let (payload, as_string) = match body.body_type {
            Some(BodyType::AsBytes(bytes)) => (bytes, false),
            Some(BodyType::AsString(bytes)) => (bytes, true),
            None => (Bytes::new(), false),
        };
        Self {
            payload,
            truncated,
            as_string,
        }
    }
}

fn decode<M: prost::Message + Default>(bytes: Bytes, part: Part, offset: u64) -> Result<M, Damage> {
    M::decode(bytes).map_err(|why| Damage {
        offset,
        fault: Fault::Message {
            what: part.name(),
            why: why.to_string(),
        },
    })
}

fn tap_event(event: Option<tap::socket_event::EventSelector>) -> What {
    use tap::socket_event::EventSelector;
    let (direction, body, end_stream) = match event {
        Some(EventSelector::Read(read)) => (Direction::Read, read.data, false),
        Some(EventSelector::Write(write)) => (Direction::Write, write.data, write.end_stream),
        Some(EventSelector::Closed(_)) => return What::Closed,
        None => return What::Nothing,
    };
    let Body {
        payload,
        truncated,
        as_string,
    } = body.map(Body::of).unwrap_or_default();
    What::Data {
        direction,
        payload,
        truncated,
        as_string,
        end_stream,
    }
}

fn capture_event(event: Option<capture::event::EventSelector>) -> What {
    use capture::event::EventSelector;
    let (direction, payload, end_stream) = match event {
        Some(EventSelector::Read(read)) => (Direction::Read, read.data, false),
        Some(EventSelector::Write(write)) => (Direction::Write, write.data, write.end_stream),
        None => return What::Nothing,
    };
    What::Data {
        direction,
        payload,
        truncated: false,
        as_string: false,
        end_stream,
    }
}

/// The numbers of a connection's fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Numbering {
    /// Local 2, remote 3: before Envoy 1.28.
    Old,
    /// Local 1, remote 2: since then.
    New,
}

/// Decodes a `TraceWrapper`'s connection, whose two numberings are told apart by their shape.
///
/// A lone field 2 is the new remote address: an old Envoy always knew its local one.
fn tap_connection(bytes: &Bytes, offset: u64) -> Result<(Connection, Option<Numbering>), Damage> {
    let numbering =
        Fields::new(bytes).find_map(|(header, _)| match (header.number, header.value) {
            (1, WireValue::Varint(_)) | (3, _) => Some(Numbering::Old),
            (1, WireValue::Len(_)) => Some(Numbering::New),
            _ => None,
        });
    let connection = if numbering == Some(Numbering::Old) {
        let message = decode::<tap::OldConnection>(bytes.clone(), Part::Connection, offset)?;
        connection(message.local_address, message.remote_address)
    } else {
        let message = decode::<tap::Connection>(bytes.clone(), Part::Connection, offset)?;
        connection(message.local_address, message.remote_address)
    };
    Ok((connection, numbering))
}

fn connection(local: Option<tap::Address>, remote: Option<tap::Address>) -> Connection {
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
    Connection {
        transport,
        local: local.and_then(endpoint),
        remote: remote.and_then(endpoint),
    }
}

fn endpoint(address: tap::Address) -> Option<Endpoint> {
    use tap::address::Address;
    use tap::envoy_internal_address::AddressNameSpecifier;
    use tap::socket_address::PortSpecifier;
    // Names are for people; what is not UTF-8 in them may be replaced.
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
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
