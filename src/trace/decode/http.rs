//! Makes events of the messages of an HTTP tap: a whole exchange, or a part of one.
//!
//! [`crate::synth`] makes HTTP/2 frames of these events.
//!
//! Invariant: the parts of a buffered message are delivered in the order headers, body, trailers.

use bytes::Bytes;

use crate::model::event::{Field, Http, Part, Side, What};
use crate::trace::address;
use crate::trace::element::TracePart;
use crate::trace::error::Damage;
use crate::trace::locate::{Located, Location};

use super::proto::tap;
use super::{Decoder, Place, Time, decode};

impl Decoder {
    fn http(&mut self, location: Location, place: Place, time: Time, http: Http) {
        let event = self.make_event(place.offset, time, None, What::Http(http));
        self.ready.push_back((event, location));
    }

    /// Takes a part of an HTTP tap, in several pieces if it `is_joined`.
    pub(in crate::trace) fn http_part(
        &mut self,
        part: TracePart,
        bytes: &[u8],
        place: Place,
        is_joined: bool,
    ) -> Result<(), Damage> {
        let (is_buffered, located) = match part {
            TracePart::HttpBuffered => (true, Located::HttpBuffered),
            _ => (false, Located::HttpSegment),
        };
        let located = if is_joined { Located::Whole } else { located };
        let location = Location::of(place, located);
        match is_buffered {
            true => self.http_buffered(bytes, place, location),
            false => self.http_segment(bytes, place, location),
        }
    }

    fn http_segment(
        &mut self,
        bytes: &[u8],
        place: Place,
        location: Location,
    ) -> Result<(), Damage> {
        let part = TracePart::HttpSegment;
        let segment = decode::<tap::HttpStreamedTraceSegment>(bytes, part, place.offset)?;
        self.trace.number = segment.trace_id;
        if let Some((side, part)) = segment.message_piece.map(http_piece) {
            let last = false;
            let http = Http::Part { side, part, last };
            self.http(location, place, Time::default(), http);
        }
        Ok(())
    }

    /// Splits a complete exchange into events.
    fn http_buffered(
        &mut self,
        bytes: &[u8],
        place: Place,
        mut location: Location,
    ) -> Result<(), Damage> {
        let part = TracePart::HttpBuffered;
        let exchange = decode::<tap::HttpBufferedTrace>(bytes, part, place.offset)?;
        // Only the file's name holds an id. Within an input, a sequential number identifies the exchanges.
        self.trace.number = self.exchanges;
        self.exchanges += 1;
        let connection = |encoded: tap::Connection| {
            let (local, remote) = (encoded.local_address, encoded.remote_address);
            Box::new(address::connection(local, remote))
        };
        let begin = Http::Begin {
            downstream: exchange.downstream_connection.map(connection),
            upstream: exchange.upstream_connection.map(connection),
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
            let mut parts = vec![Part::Headers(fields(message.headers))];
            parts.extend(message.body.map(http_body));
            if !message.trailers.is_empty() {
                parts.push(Part::Trailers(fields(message.trailers)));
            }
            let count = parts.len();
            for (i, part) in parts.into_iter().enumerate() {
                let last = i + 1 == count;
                location.next_part();
                self.http(location, place, time, Http::Part { side, part, last });
                // Body and trailers have no time of their own, so their time needs no warning.
                time.adjusted = false;
            }
        }
        location.next_part();
        self.http(location, place, Time::default(), Http::End);
        Ok(())
    }
}

fn http_piece(piece: tap::http_streamed_trace_segment::MessagePiece) -> (Side, Part) {
    use tap::http_streamed_trace_segment::MessagePiece;
    match piece {
        MessagePiece::RequestHeaders(map) => (Side::Request, Part::Headers(fields(map.headers))),
        MessagePiece::RequestBodyChunk(body) => (Side::Request, http_body(body)),
        MessagePiece::RequestTrailers(map) => (Side::Request, Part::Trailers(fields(map.headers))),
        MessagePiece::ResponseHeaders(map) => (Side::Response, Part::Headers(fields(map.headers))),
        MessagePiece::ResponseBodyChunk(body) => (Side::Response, http_body(body)),
        MessagePiece::ResponseTrailers(map) => {
            (Side::Response, Part::Trailers(fields(map.headers)))
        }
    }
}

fn http_body(body: tap::Body) -> Part {
    use tap::body::BodyType;
    let truncated = body.truncated;
    let (payload, as_string) = match body.body_type {
        Some(BodyType::AsBytes(bytes)) => (bytes, false),
        Some(BodyType::AsString(bytes)) => (bytes, true),
        None => (Bytes::new(), false),
    };
    Part::Body {
        payload,
        truncated,
        as_string,
    }
}

fn fields(headers: Vec<tap::HeaderValue>) -> Vec<Field> {
    let field = |header: tap::HeaderValue| Field {
        name: header.key,
        // A value that is not UTF-8 is in a separate field, and JSON prints both.
        value: if header.raw_value.is_empty() {
            header.value
        } else {
            header.raw_value
        },
    };
    headers.into_iter().map(field).collect()
}
