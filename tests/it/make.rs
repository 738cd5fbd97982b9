//! Makes traces, in every encoding of every release of Envoy.
//!
//! It encodes protobuf by itself, so that an error in the program's schema cannot hide in the tests. The layouts are
//! those of envoy.data.tap.v3 (today), v2alpha (1.10) and the capture extension (1.7).

/// Messages made from parts, for traces that [`Made`] cannot express.
pub(crate) mod parts;
mod readable;

use std::net::SocketAddr;

/// The kind of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum What {
    Read,
    Write,
    Closed,
}

/// An event of a trace.
#[derive(Clone, Debug)]
pub(crate) struct Ev {
    /// Seconds since 1970, and nanoseconds.
    pub(crate) time: (i64, i32),
    pub(crate) what: What,
    pub(crate) data: Vec<u8>,
    pub(crate) truncated: bool,
    pub(crate) end_stream: bool,
    /// 0 is left out.
    pub(crate) seq_num: u64,
}

impl Ev {
    /// A usual event, `micros` microseconds after [`START`].
    pub(crate) fn new(what: What, micros: i32, data: impl Into<Vec<u8>>) -> Self {
        let time = (
            START + i64::from(micros / 1_000_000),
            micros % 1_000_000 * 1000,
        );
        Self {
            time,
            what,
            data: data.into(),
            truncated: false,
            end_stream: false,
            seq_num: 0,
        }
    }

    /// Nanoseconds since 1970.
    pub(crate) fn nanos(&self) -> u64 {
        u64::try_from(self.time.0).expect("after 1970") * 1_000_000_000 + self.time.1 as u64
    }
}

/// The start of a made trace, in seconds since 1970.
pub(crate) const START: i64 = 1_795_327_726;

/// A connection and its events.
#[derive(Clone, Debug)]
pub(crate) struct Made {
    pub(crate) id: u64,
    /// An address and a port.
    pub(crate) local: (String, u16),
    pub(crate) remote: (String, u16),
    pub(crate) events: Vec<Ev>,
}

/// The encoding of a trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// One buffered TraceWrapper.
    Binary,
    /// The same with the field numbers of Envoy 1.10 to 1.27.
    Old,
    /// The bare Trace of Envoy 1.7 to 1.9.
    Bare,
    /// One buffered message, after its length.
    Delimited,
    /// Streamed messages, each after its length.
    StreamedDelimited,
    /// Streamed messages, one after the other.
    Streamed,
    Text,
    StreamedText,
    Json,
    StreamedJson,
}

impl Form {
    pub(crate) const ALL: [Self; 10] = [
        Self::Binary,
        Self::Old,
        Self::Bare,
        Self::Delimited,
        Self::StreamedDelimited,
        Self::Streamed,
        Self::Text,
        Self::StreamedText,
        Self::Json,
        Self::StreamedJson,
    ];

    pub(crate) const fn is_streamed(self) -> bool {
        matches!(
            self,
            Self::StreamedDelimited | Self::Streamed | Self::StreamedText | Self::StreamedJson
        )
    }

    /// The extension of a file, as in Envoy.
    pub(crate) const fn extension(self) -> &'static str {
        match self {
            Self::Binary | Self::Old | Self::Bare | Self::Streamed => "pb",
            Self::Delimited | Self::StreamedDelimited => "pb_length_delimited",
            Self::Text | Self::StreamedText => "pb_text",
            Self::Json | Self::StreamedJson => "json",
        }
    }
}

/// An encoded trace.
pub(crate) struct Encoded {
    pub(crate) bytes: Vec<u8>,
    /// The start and end of each event; of a streamed one with its message.
    pub(crate) events: Vec<(usize, usize)>,
    /// The positions at which the bytes before are complete messages.
    pub(crate) boundaries: Vec<usize>,
}

impl Made {
    pub(crate) fn new(local: SocketAddr, remote: SocketAddr, events: Vec<Ev>) -> Self {
        let pair = |address: SocketAddr| (address.ip().to_string(), address.port());
        Self {
            id: 7,
            local: pair(local),
            remote: pair(remote),
            events,
        }
    }

    /// A conversation between IPv4 addresses.
    pub(crate) fn v4(events: Vec<Ev>) -> Self {
        Self::new(
            ([10, 0, 0, 1], 10000).into(),
            ([10, 0, 0, 2], 50000).into(),
            events,
        )
    }

    /// A conversation between IPv6 addresses.
    pub(crate) fn v6(events: Vec<Ev>) -> Self {
        let address = |last| [0xfd00, 0, 0, 0, 0, 0, 0, last];
        Self::new(
            (address(1), 10000).into(),
            (address(2), 50000).into(),
            events,
        )
    }

    pub(crate) fn encode(&self, form: Form) -> Encoded {
        match form {
            Form::Binary => self.buffered(false),
            Form::Old => self.buffered(true),
            Form::Bare => self.bare(),
            Form::Delimited => self.buffered(false).behind_its_length(),
            Form::StreamedDelimited => self.streamed(true),
            Form::Streamed => self.streamed(false),
            Form::Text => self.text(),
            Form::StreamedText => self.streamed_text(),
            Form::Json => self.json(),
            Form::StreamedJson => self.streamed_json(),
        }
    }

    fn buffered(&self, old: bool) -> Encoded {
        let mut trace = number(1, self.id);
        trace.extend(field(2, &self.connection(if old { 2 } else { 1 })));
        let mut events = Vec::new();
        for event in &self.events {
            let start = trace.len();
            trace.extend(field(3, &event.binary()));
            events.push((start, trace.len()));
        }
        for (number_of, what) in [(4, What::Read), (5, What::Write)] {
            if self
                .events
                .iter()
                .any(|event| event.what == what && event.truncated)
            {
                trace.extend(number(number_of, 1));
            }
        }
        let length = trace.len();
        let bytes = field(3, &trace);
        let boundaries = vec![bytes.len()];
        Encoded {
            events,
            boundaries,
            bytes,
        }
        .shifted(length)
    }

    fn bare(&self) -> Encoded {
        let mut connection = number(1, self.id);
        connection.extend(self.connection(2));
        let mut encoded = Encoded {
            bytes: field(1, &connection),
            events: Vec::new(),
            boundaries: Vec::new(),
        };
        for event in &self.events {
            encoded.boundaries.push(encoded.bytes.len());
            let start = encoded.bytes.len();
            encoded.bytes.extend(field(2, &event.bare()));
            encoded.events.push((start, encoded.bytes.len()));
        }
        encoded.boundaries.push(encoded.bytes.len());
        encoded
    }

    fn streamed(&self, delimited: bool) -> Encoded {
        let segment = |body: &[u8]| {
            let message = field(4, &[number(1, self.id).as_slice(), body].concat());
            if delimited {
                [varint(message.len() as u64), message].concat()
            } else {
                message
            }
        };
        let first = segment(&field(2, &self.connection(1)));
        let rest = self
            .events
            .iter()
            .map(|event| segment(&field(3, &event.binary())));
        Encoded::of_messages(first, rest)
    }

    fn connection(&self, first: u32) -> Vec<u8> {
        let address = |(ip, port): &(String, u16)| {
            let socket = [field(2, ip.as_bytes()), number(3, u64::from(*port))].concat();
            field(1, &socket)
        };
        [
            field(first, &address(&self.local)),
            field(first + 1, &address(&self.remote)),
        ]
        .concat()
    }
}

impl Encoded {
    /// A first message, and one for each event.
    fn of_messages(first: Vec<u8>, rest: impl Iterator<Item = Vec<u8>>) -> Self {
        let mut encoded = Self {
            boundaries: vec![first.len()],
            bytes: first,
            events: Vec::new(),
        };
        for message in rest {
            let start = encoded.bytes.len();
            encoded.bytes.extend(message);
            encoded.events.push((start, encoded.bytes.len()));
            encoded.boundaries.push(encoded.bytes.len());
        }
        encoded
    }

    /// A text message is also complete without the newline at its end.
    fn with_last_newlines(mut self) -> Self {
        self.boundaries = self
            .boundaries
            .iter()
            .flat_map(|&end| [end - 1, end])
            .collect();
        self
    }

    /// Moves the events by the number of bytes that were inserted before the last `length` bytes.
    fn shifted(mut self, length: usize) -> Self {
        let by = self.bytes.len() - length;
        for (start, end) in &mut self.events {
            *start += by;
            *end += by;
        }
        self
    }

    fn behind_its_length(self) -> Self {
        let length = self.bytes.len();
        let bytes = [varint(length as u64), self.bytes].concat();
        Self {
            boundaries: vec![bytes.len()],
            events: self.events,
            bytes,
        }
        .shifted(length)
    }
}

impl Ev {
    fn timestamp(&self) -> Vec<u8> {
        let seconds = number(1, self.time.0 as u64);
        field(1, &[seconds, number(2, self.time.1 as u64)].concat())
    }

    fn binary(&self) -> Vec<u8> {
        let truncated = if self.truncated {
            number(3, 1)
        } else {
            Vec::new()
        };
        let body = field(1, &[field(1, &self.data), truncated].concat());
        let end_stream = if self.end_stream {
            number(2, 1)
        } else {
            Vec::new()
        };
        let what = match self.what {
            What::Read => field(2, &body),
            What::Write => field(3, &[body, end_stream].concat()),
            What::Closed => field(4, &[]),
        };
        let seq_num = if self.seq_num == 0 {
            Vec::new()
        } else {
            number(6, self.seq_num)
        };
        [self.timestamp(), what, seq_num].concat()
    }

    fn bare(&self) -> Vec<u8> {
        let data = field(1, &self.data);
        let end_stream = if self.end_stream {
            number(2, 1)
        } else {
            Vec::new()
        };
        let what = match self.what {
            What::Read => field(2, &data),
            What::Write => field(3, &[data, end_stream].concat()),
            What::Closed => panic!("Envoy 1.7 had no closed event"),
        };
        [self.timestamp(), what].concat()
    }
}

/// The varint of `n`.
pub(crate) fn varint(mut n: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while n >= 0x80 {
        bytes.push(n as u8 | 0x80);
        n >>= 7;
    }
    bytes.push(n as u8);
    bytes
}

/// A field with a number.
pub(crate) fn number(field: u32, value: u64) -> Vec<u8> {
    [varint(u64::from(field) << 3), varint(value)].concat()
}

/// A field with bytes.
pub(crate) fn field(field: u32, bytes: &[u8]) -> Vec<u8> {
    [
        &varint(u64::from(field) << 3 | 2),
        &varint(bytes.len() as u64),
        bytes,
    ]
    .concat()
}

/// Pseudo-random bytes, the same for the same seed (splitmix64).
pub(crate) fn noise(seed: u64) -> impl Iterator<Item = u8> {
    let mut state = seed;
    let words = std::iter::repeat_with(move || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = (state ^ state >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ word >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        (word ^ word >> 31).to_le_bytes()
    });
    words.flatten()
}
