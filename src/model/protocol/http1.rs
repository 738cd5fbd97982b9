//! The parts of an HTTP/1 message's head that determine its length (RFC 9112), for redaction and for the estimate of
//! missing bytes.
//!
//! These two handle invalid messages differently, each in its own module: redaction overwrites them, and the estimate
//! continues as a reader of the capture would.

/// The property of a request's method that determines the length of the response.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Method {
    #[default]
    Other,
    Head,
    Connect,
}

impl Method {
    /// The method of a request with this first line.
    pub(crate) fn of(line: &[u8]) -> Self {
        if line.starts_with(b"HEAD ") {
            Self::Head
        } else if line.starts_with(b"CONNECT ") {
            Self::Connect
        } else {
            Self::Other
        }
    }
}

/// The meaning of a message's first line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Start {
    Request(Method),
    Response(u16),
}

/// A complete and unambiguous head without a transfer coding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ParsedHead {
    /// Its length, in bytes.
    pub(crate) len: usize,
    pub(crate) start: Start,
    /// The length of its body, if it has the field.
    pub(crate) length: Option<u64>,
}

/// The methods of requests without a response so far, the oldest in the lowest bits.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Methods {
    methods: u64,
    count: u32,
}

impl Methods {
    /// The maximum number of methods, at two bits each.
    const ROOM: u32 = u64::BITS / 2;

    /// Adds the method of a request, and returns whether there was room for it.
    pub(crate) fn push(&mut self, method: Method) -> bool {
        let has_room = self.count < Self::ROOM;
        if has_room {
            self.methods |= (method as u64) << (2 * self.count);
        }
        self.count = self.count.saturating_add(1);
        has_room
    }

    /// Removes the method of the oldest request, if there is one.
    pub(crate) fn pop(&mut self) -> Option<Method> {
        let method = self.first();
        self.count = self.count.checked_sub(1)?;
        self.methods >>= 2;
        Some(method)
    }

    /// The method of the oldest request; `Other` if there is none.
    pub(crate) const fn first(&self) -> Method {
        match self.methods & 3 {
            1 => Method::Head,
            2 => Method::Connect,
            _ => Method::Other,
        }
    }
}

/// The status in a response's first line, if it is one.
pub(crate) fn status(line: &[u8]) -> Option<u16> {
    let digits = line
        .strip_prefix(b"HTTP/1.")?
        .get(2..)?
        .first_chunk::<3>()?;
    let is_status = digits.iter().all(u8::is_ascii_digit);
    let [a, b, c] = digits.map(|digit| u16::from(digit & 15));
    is_status.then_some(100 * a + 10 * b + c)
}

/// Whether a request's first line ends with its version.
pub(crate) fn has_version(line: &[u8]) -> bool {
    line.ends_with(b" HTTP/1.1") || line.ends_with(b" HTTP/1.0")
}

/// A line without the CR at its end.
pub(crate) fn without_cr(line: &[u8]) -> &[u8] {
    line.strip_suffix(b"\r").unwrap_or(line)
}

/// Parses decimal digits.
pub(crate) fn number(digits: &[u8]) -> Option<u64> {
    let mut number = 0_u64;
    for digit in digits {
        let digit = u64::from(digit.wrapping_sub(b'0'));
        if digit > 9 {
            return None;
        }
        number = number.checked_mul(10)?.checked_add(digit)?;
    }
    (!digits.is_empty()).then_some(number)
}
