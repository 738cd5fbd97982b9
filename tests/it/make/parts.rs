//! Messages made from parts: addresses of every kind, a connection inside an event, events without a time, HTTP.
//!
//! Only in the binary encoding. Differences between encodings are tested with [`Made`](super::Made).

use super::{Ev, field, number};

/// A socket address.
pub(crate) fn socket(ip: &str, port: u64) -> Vec<u8> {
    field(1, &[field(2, ip.as_bytes()), number(3, port)].concat())
}

/// A socket address of UDP.
pub(crate) fn udp_socket(ip: &str, port: u64) -> Vec<u8> {
    let socket = [number(1, 1), field(2, ip.as_bytes()), number(3, port)];
    field(1, &socket.concat())
}

/// The address of a Unix domain socket.
pub(crate) fn pipe(path: &str) -> Vec<u8> {
    field(2, &field(1, path.as_bytes()))
}

/// The address of an internal listener.
pub(crate) fn internal(listener: &str, endpoint: &str) -> Vec<u8> {
    let parts = [field(1, listener.as_bytes()), field(2, endpoint.as_bytes())];
    field(3, &parts.concat())
}

/// A connection with the given ends.
pub(crate) fn connection(local: Option<&[u8]>, remote: Option<&[u8]>) -> Vec<u8> {
    let end = |number, address: Option<&[u8]>| address.map(|a| field(number, a));
    [end(1, local), end(2, remote)]
        .into_iter()
        .flatten()
        .flatten()
        .collect()
}

/// The streamed segment with a connection.
pub(crate) fn begin(id: u64, connection: &[u8]) -> Vec<u8> {
    field(4, &[number(1, id), field(2, connection)].concat())
}

/// A streamed segment with an event.
pub(crate) fn segment(id: u64, event: &[u8]) -> Vec<u8> {
    field(4, &[number(1, id), field(3, event)].concat())
}

impl Ev {
    /// The event's message.
    pub(crate) fn message(&self) -> Vec<u8> {
        self.binary()
    }

    /// The same with a connection in it.
    pub(crate) fn with_connection(&self, connection: &[u8]) -> Vec<u8> {
        [self.binary(), field(5, connection)].concat()
    }

    /// The same without its time.
    pub(crate) fn without_time(&self) -> Vec<u8> {
        self.binary().split_off(self.timestamp().len())
    }
}

/// A header or trailer field.
pub(crate) fn header(name: &str, value: &str) -> Vec<u8> {
    [field(1, name.as_bytes()), field(2, value.as_bytes())].concat()
}

/// A header field whose value is bytes.
pub(crate) fn raw_header(name: &str, value: &[u8]) -> Vec<u8> {
    [field(1, name.as_bytes()), field(3, value)].concat()
}

/// The usual header fields of a request, and `more`.
pub(crate) fn request(method: &str, more: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let mut headers = vec![
        header(":method", method),
        header(":path", "/"),
        header(":scheme", "http"),
        header(":authority", "example.com"),
    ];
    headers.extend_from_slice(more);
    headers
}

/// The usual header fields of a response, and `more`.
pub(crate) fn response(status: &str, more: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let mut headers = vec![header(":status", status)];
    headers.extend_from_slice(more);
    headers
}

/// A body of bytes.
pub(crate) fn body(bytes: &[u8]) -> Vec<u8> {
    field(1, bytes)
}

/// A request or a response.
#[derive(Clone, Default)]
pub(crate) struct Half {
    pub(crate) headers: Vec<Vec<u8>>,
    pub(crate) body: Option<Vec<u8>>,
    pub(crate) trailers: Vec<Vec<u8>>,
    /// Seconds since 1970, and nanoseconds.
    pub(crate) time: Option<(i64, i32)>,
}

impl Half {
    fn message(&self) -> Vec<u8> {
        let headers = self.headers.iter().flat_map(|header| field(1, header));
        let body = self.body.iter().flat_map(|body| field(2, body));
        let trailers = self.trailers.iter().flat_map(|header| field(3, header));
        let time = self.time.iter().flat_map(|&(seconds, nanos)| {
            let time = [number(1, seconds as u64), number(2, nanos as u64)];
            field(4, &time.concat())
        });
        headers.chain(body).chain(trailers).chain(time).collect()
    }
}

/// A buffered exchange.
pub(crate) fn exchange(
    request: Option<&Half>,
    response: Option<&Half>,
    connection: Option<&[u8]>,
) -> Vec<u8> {
    let request = request.iter().flat_map(|half| field(1, &half.message()));
    let response = response.iter().flat_map(|half| field(2, &half.message()));
    let connection = connection
        .iter()
        .flat_map(|connection| field(3, connection));
    let trace: Vec<u8> = request.chain(response).chain(connection).collect();
    field(1, &trace)
}

/// A part of a streamed exchange.
pub(crate) enum Piece {
    RequestHeaders(Vec<Vec<u8>>),
    RequestBody(Vec<u8>),
    RequestTrailers(Vec<Vec<u8>>),
    ResponseHeaders(Vec<Vec<u8>>),
    ResponseBody(Vec<u8>),
    ResponseTrailers(Vec<Vec<u8>>),
}

/// A streamed segment with such a part.
pub(crate) fn piece(id: u64, piece: &Piece) -> Vec<u8> {
    let map = |headers: &[Vec<u8>]| -> Vec<u8> {
        headers.iter().flat_map(|header| field(1, header)).collect()
    };
    let (number_of, message) = match piece {
        Piece::RequestHeaders(headers) => (2, map(headers)),
        Piece::RequestBody(body) => (3, body.clone()),
        Piece::RequestTrailers(headers) => (4, map(headers)),
        Piece::ResponseHeaders(headers) => (5, map(headers)),
        Piece::ResponseBody(body) => (6, body.clone()),
        Piece::ResponseTrailers(headers) => (7, map(headers)),
    };
    field(2, &[number(1, id), field(number_of, &message)].concat())
}
