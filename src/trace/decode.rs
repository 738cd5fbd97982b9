//! Parts of a trace into events of the model. The generated protobuf types stop here.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::num::NonZeroU64;

use bytes::Bytes;

use crate::event::{
    self, Connection, Endpoint, Event, Field, Http, Side, Timestamp, TraceId, Transport, What,
};

use crate::slice::{Piece, Slice};

use super::detect::Generation;
use super::element::{Form, Part};
use super::error::{Damage, Fault};
use super::locate::{Located, Location};
use super::socket::{self, Selector, SocketEvent};
use super::wire::{Fields, WireValue};

#[allow(
    clippy::all,
    missing_docs,
    unreachable_pub,
    dead_code,
    reason = "generated from proto/"
)]
pub(super) mod proto {
    pub mod tap {
        include!(concat!(env!("OUT_DIR"), "/capture2pcap.tap.rs"));
    }
    pub mod capture {
        include!(concat!(env!("OUT_DIR"), "/capture2pcap.capture.rs"));
    }
}
use proto::{capture, tap};

/// Where a part of a trace lies.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    /// The offset of its field.
    pub(super) offset: u64,
    /// The offset of the field's value.
    pub(super) value: u64,
    /// The length of the value, as it is encoded.
    pub(super) len: u64,
}

/// Makes events of the parts of a trace.
#[derive(Clone, Debug)]
pub(super) struct Decoder {
    generation: Generation,
    /// The connection that the message around the parts is about.
    trace: TraceId,
    pub(super) form: Form,
    /// Whether `Begin` has been told of this message. It waits for the trace id, which comes first.
    begun: bool,
    /// Which numbering the last connection had that shows one.
    pub(super) numbering: Option<Numbering>,
    /// How many buffered HTTP exchanges there were.
    exchanges: u64,
    /// Whether there was anything that only a trace holds.
    pub(super) recognised: bool,
    /// The event that was decoded last. Written over again and again, it is never moved on its way.
    pub(super) current: Event,
    /// Where it is decoded from.
    pub(super) location: Location,
    /// Events that are decoded and come after it.
    pub(super) ready: VecDeque<(Event, Location)>,
}

impl Decoder {
    pub(super) fn new(generation: Generation, source: u32) -> Self {
        Self {
            generation,
            trace: TraceId {
                source,
                ..TraceId::default()
            },
            form: Form::Buffered,
            begun: false,
            numbering: None,
            exchanges: 0,
            recognised: false,
            current: Event::default(),
            location: Location::default(),
            ready: VecDeque::new(),
        }
    }

    /// A message about a connection begins.
    #[inline]
    pub(super) fn begin(&mut self, form: Form) {
        self.recognised = true;
        self.trace.number = 0;
        self.form = form;
        // What is streamed says nothing by its messages.
        self.begun = form == Form::Streamed;
    }

    /// Begins anew, at a message of which nothing but events matters.
    pub(super) fn restart(&mut self, generation: Generation) {
        self.release();
        self.ready.clear();
        self.generation = generation;
        self.trace = TraceId::default();
        self.begun = true;
        self.exchanges = 0;
    }

    /// Goes on to the next event that is decoded already; false where there is none.
    #[inline]
    pub(super) fn advance(&mut self) -> bool {
        let next = self.ready.pop_front();
        let is_some = next.is_some();
        if let Some((event, location)) = next {
            self.current = event;
            self.location = location;
        }
        is_some
    }

    /// Lets go of the memory that the current event holds.
    pub(super) fn release(&mut self) {
        self.current.what = What::Nothing;
    }

    /// A message stood here that Envoy failed to write.
    pub(super) fn failed(&mut self, offset: u64) {
        self.recognised = true;
        self.current = self.tell(offset, Time::default(), None, What::Failed);
        self.location = Location::default();
    }

    /// Takes a part that is a number, and tells whether an event comes of it.
    #[inline]
    pub(super) fn number(&mut self, part: Part, number: u64, offset: u64) -> bool {
        self.recognised = true;
        match part {
            Part::TraceId => self.trace.number = number,
            Part::Truncated(direction) if number != 0 => {
                self.push(offset, Time::default(), None, What::Truncated(direction));
                return self.advance();
            }
            _ => {}
        }
        false
    }

    /// Takes a part that is a message, and tells whether an event comes of it. Others may be ready then.
    #[inline]
    pub(super) fn message(
        &mut self,
        part: Part,
        message: Piece<'_>,
        place: Place,
    ) -> Result<bool, Damage> {
        self.recognised = true;
        match part {
            Part::Event => self.event(message, place),
            _ => self.rare(part, message, place),
        }
    }

    /// Takes a part of which a trace has few.
    #[cold]
    fn rare(&mut self, part: Part, message: Piece<'_>, place: Place) -> Result<bool, Damage> {
        let message = Slice::from(message);
        match part {
            Part::Connection => self.connection(message, place.offset)?,
            Part::HttpBuffered => self.http_buffered(message, place)?,
            Part::HttpSegment => self.http_segment(message, place)?,
            Part::Event | Part::TraceId | Part::Truncated(_) => {}
        }
        Ok(self.advance())
    }

    fn connection(&mut self, bytes: Slice, offset: u64) -> Result<(), Damage> {
        let connection = match self.generation {
            Generation::Tap => {
                let (connection, numbering) = tap_connection(&bytes, offset)?;
                self.numbering = numbering.or(self.numbering);
                connection
            }
            Generation::Capture => {
                let message = decode::<capture::Connection>(bytes, Part::Connection, offset)?;
                // A trace of this generation is one connection, which begins here.
                self.trace.number = message.id;
                self.begun = false;
                connection(message.local_address, message.remote_address)
            }
        };
        let what = What::Connection(Box::new(connection));
        self.push(offset, Time::default(), None, what);
        Ok(())
    }

    /// Tells that a message has begun, unless that was told.
    fn begin_message(&mut self, offset: u64) {
        if !self.begun {
            self.begun = true;
            let begin = self.tell(offset, Time::default(), None, What::Begin);
            self.ready.push_back((begin, Location::default()));
        }
    }

    fn push(&mut self, offset: u64, time: Time, seq_num: Option<NonZeroU64>, what: What) {
        self.begin_message(offset);
        let event = self.tell(offset, time, seq_num, what);
        self.ready.push_back((event, Location::default()));
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
            missing: None,
            gap: None,
            what,
        }
    }

    #[inline]
    fn event(&mut self, message: Piece<'_>, place: Place) -> Result<bool, Damage> {
        let offset = place.offset;
        let mut event = SocketEvent::default();
        if let Err(broken) = event.decode(message.bytes(), self.generation) {
            let fault = socket::fault(broken);
            return Err(Damage::new(offset, fault));
        }
        if !event.connection.is_empty() {
            let bytes = Slice::from(std::mem::take(&mut event.connection));
            let told = decode::<tap::Connection>(bytes, Part::Connection, offset)?;
            let told = Box::new(connection(told.local_address, told.remote_address));
            self.push(offset, Time::default(), None, What::Connection(told));
        }
        let Time { time, adjusted } = event.time.map_or_else(Time::default, Time::of);
        let current = &mut self.current;
        current.trace = self.trace;
        current.offset = offset;
        current.time = time;
        current.time_adjusted = adjusted;
        // Buffered traces do not count, and say so with a 0 in JSON.
        current.seq_num = NonZeroU64::new(event.seq_num).filter(|_| self.form == Form::Streamed);
        current.missing = None;
        current.gap = None;
        self.location = Location::of(place, Located::Event(self.form));
        match event.selector {
            None => current.what = What::Nothing,
            Some(Selector::Closed) => current.what = What::Closed,
            Some(Selector::Data(way)) => {
                if let What::Data {
                    direction,
                    payload,
                    truncated,
                    as_string,
                    end_stream,
                } = current.data()
                {
                    *direction = way;
                    message.hold(event.payload, payload);
                    *truncated = event.truncated;
                    *as_string = event.as_string;
                    *end_stream = event.end_stream;
                }
            }
        }
        if !self.begun || !self.ready.is_empty() {
            self.queue();
        }
        Ok(true)
    }

    /// Lets what has to be told before it go before the current event.
    #[cold]
    fn queue(&mut self) {
        let current = std::mem::take(&mut self.current);
        self.begin_message(current.offset);
        self.ready.push_back((current, self.location));
        self.advance();
    }
}

/// A recorded time, and whether it had to be adjusted.
#[derive(Clone, Copy, Debug, Default)]
struct Time {
    time: Option<Timestamp>,
    adjusted: bool,
}

impl Time {
    fn of((seconds, nanos): (i64, i32)) -> Self {
        let (time, adjusted) = Timestamp::from_parts(seconds, nanos);
        Self {
            time: Some(time),
            adjusted,
        }
    }
}

impl Decoder {
    fn http(&mut self, location: Location, place: Place, time: Time, http: Http) {
        let event = self.tell(place.offset, time, None, What::Http(http));
        self.ready.push_back((event, location));
    }

    fn http_segment(&mut self, bytes: Slice, place: Place) -> Result<(), Damage> {
        let part = Part::HttpSegment;
        let segment = decode::<tap::HttpStreamedTraceSegment>(bytes, part, place.offset)?;
        self.trace.number = segment.trace_id;
        if let Some((side, part)) = segment.message_piece.map(http_piece) {
            let last = false;
            let location = Location::of(place, Located::HttpSegment);
            let http = Http::Part { side, part, last };
            self.http(location, place, Time::default(), http);
        }
        Ok(())
    }

    /// Takes a whole exchange apart.
    fn http_buffered(&mut self, bytes: Slice, place: Place) -> Result<(), Damage> {
        let part = Part::HttpBuffered;
        let exchange = decode::<tap::HttpBufferedTrace>(bytes, part, place.offset)?;
        let mut location = Location::of(place, Located::HttpBuffered);
        // Only the file's name holds an id. Within an input, a running number tells them apart.
        self.trace.number = self.exchanges;
        self.exchanges += 1;
        let downstream = exchange
            .downstream_connection
            .map(|told| Box::new(connection(told.local_address, told.remote_address)));
        let upstream = None;
        let begin = Http::Begin {
            downstream,
            upstream,
        };
        self.http(location, place, Time::default(), begin);
        let sides = [
            (Side::Request, exchange.request),
            (Side::Response, exchange.response),
        ];
        for (side, message) in sides {
            let Some(message) = message else { continue };
            let received = message.headers_received_time;
            let mut time =
                received.map_or_else(Time::default, |at| Time::of((at.seconds, at.nanos)));
            let mut parts = vec![event::Part::Headers(fields(message.headers))];
            parts.extend(message.body.map(http_body));
            if !message.trailers.is_empty() {
                parts.push(event::Part::Trailers(fields(message.trailers)));
            }
            let count = parts.len();
            for (i, part) in parts.into_iter().enumerate() {
                let last = i + 1 == count;
                location.next_part();
                self.http(location, place, time, Http::Part { side, part, last });
                // Body and trailers have no time of their own, so there is nothing wrong with it.
                time.adjusted = false;
            }
        }
        location.next_part();
        self.http(location, place, Time::default(), Http::End);
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
    use tap::body::BodyType;
    let truncated = body.truncated;
    let (payload, as_string) = match body.body_type {
        Some(BodyType::AsBytes(bytes)) => (bytes, false),
        Some(BodyType::AsString(bytes)) => (bytes, true),
        None => (Bytes::new(), false),
    };
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

fn decode<M: prost::Message + Default>(bytes: Slice, part: Part, offset: u64) -> Result<M, Damage> {
    M::decode(Bytes::from_owner(bytes)).map_err(|why| {
        let (what, why) = (part.name(), why.to_string());
        Damage::new(offset, Fault::Message { what, why })
    })
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
fn tap_connection(bytes: &Slice, offset: u64) -> Result<(Connection, Option<Numbering>), Damage> {
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
        namespace: None,
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
