//! One connection: which protocol its bytes are of, and what of them is known.

use arrayvec::ArrayVec;
use memchr::{memchr, memchr_iter};

use crate::model::event::{Direction, Gap, GapKind};
use crate::model::protocol::{self, Opening, PREFACE, Protocol};

use super::http1::{self, Messages, Outcome, Requests};
use super::http2::{self, Frames};
use super::names::{MAX_NAME, Names};
use super::patch::{Patch, STAND_IN};

/// The fewest bytes of the preface that are like nothing else: `PRI *`.
const MIN_PREFACE: usize = 5;
/// How many of a direction's first bytes are kept until they show the protocol.
const MAX_BEGUN: usize = 32;
/// The methods after which the first line of a request may be cut before its target shows that it is one.
const METHODS: [&[u8]; 9] = [
    b"GET", b"HEAD", b"POST", b"PUT", b"DELETE", b"OPTIONS", b"PATCH", b"TRACE", b"CONNECT",
];

/// What is overwritten beside the values of fields.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rules<'a> {
    pub(super) names: &'a Names,
    pub(super) has_bodies: bool,
}

/// A connection on its way through the stage.
#[derive(Debug, Default)]
pub(super) struct Connection {
    talk: Talk,
    sides: [Side; 2],
    /// Envoy's count of bytes at which the next event begins, where the last one had a count.
    expected: Option<u64>,
    /// Whether some of it was not redacted, and that was reported.
    is_reported: bool,
}

/// What is known of a direction, whatever the protocol.
#[derive(Debug, Default)]
struct Side {
    /// Its first bytes, as long as the protocol is unknown.
    begun: ArrayVec<u8, MAX_BEGUN>,
    /// Whether bytes are missing of which the number is unknown.
    is_cut: bool,
    /// Whether bytes are missing before its first.
    is_late: bool,
    /// Whether bytes that are of no known protocol are overwritten.
    is_dark: bool,
}

#[derive(Debug, Default)]
enum Talk {
    #[default]
    Unknown,
    Http1(Box<Http1>),
    Http2(Box<Http2>),
    Other,
}

#[derive(Debug)]
struct Http1 {
    from_client: Direction,
    client: Messages,
    server: Messages,
    requests: Requests,
}

#[derive(Debug)]
struct Http2 {
    from_client: Direction,
    client: Frames,
    server: Frames,
}

/// Bytes that went one way.
#[derive(Clone, Copy, Debug)]
pub(super) struct Data<'a> {
    pub(super) direction: Direction,
    pub(super) gap: Option<&'a Gap>,
    /// Whether bytes after them are missing, and how many, where that is known.
    pub(super) is_truncated: bool,
    pub(super) missing: Option<u64>,
    /// Whether what is no text is lost in them.
    pub(super) as_string: bool,
    /// Envoy's count of bytes before them.
    pub(super) count: Option<u64>,
}

impl Data<'_> {
    /// The count after so many bytes and those that are missing after them, where it is known.
    fn end(&self, len: usize) -> Option<u64> {
        let missing = match self.is_truncated {
            true => self.missing?,
            false => 0,
        };
        Some(
            self.count?
                .saturating_add(len as u64)
                .saturating_add(missing),
        )
    }
}

/// What the first bytes of a direction show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Beginning {
    /// Too few are there.
    Open,
    /// They are the first bytes of a client or a server.
    Http(Opening),
    /// They are frames of HTTP/2 from the middle of a connection.
    Frames,
    Other,
}

impl Connection {
    /// Takes bytes, if all of them are certainly inside a body.
    #[inline]
    pub(super) fn is_inside(
        &mut self,
        direction: Direction,
        bytes: &[u8],
        count: Option<u64>,
    ) -> bool {
        if self.sides[direction as usize].is_cut || count != self.expected {
            return false;
        }
        let is_inside = match &mut self.talk {
            Talk::Http1(http1) => http1.side(direction).is_inside(bytes),
            Talk::Http2(http2) => http2.side(direction).is_inside(bytes),
            Talk::Unknown | Talk::Other => false,
        };
        if let Some(expected) = &mut self.expected
            && is_inside
        {
            *expected = expected.saturating_add(bytes.len() as u64);
        }
        is_inside
    }

    /// Takes bytes. Returns whether they are the first that are left as they are, although nothing is known of
    /// their protocol.
    pub(super) fn data(&mut self, data: Data<'_>, patch: &mut Patch<'_>, rules: Rules<'_>) -> bool {
        if let Some(gap) = data.gap {
            self.gap(gap);
        } else if let (Some(count), Some(expected)) = (data.count, self.expected)
            && count != expected
        {
            // Strings lack what is no text, and a count may make no sense.
            self.lose(Direction::Read);
            self.lose(Direction::Write);
        }
        self.expected = data.end(patch.bytes().len());
        let side = &mut self.sides[data.direction as usize];
        if !patch.bytes().is_empty() && std::mem::take(&mut side.is_cut) {
            self.lose(data.direction);
        }
        let is_left = self.follow(data, patch, rules);
        match data.missing {
            _ if !data.is_truncated => {}
            Some(missing) => self.skip(data.direction, missing),
            None => self.sides[data.direction as usize].is_cut = true,
        }
        is_left && !std::mem::replace(&mut self.is_reported, true)
    }

    /// Takes note that bytes of a direction may be missing.
    pub(super) fn cut(&mut self, direction: Direction) {
        self.sides[direction as usize].is_cut = true;
    }

    fn gap(&mut self, gap: &Gap) {
        match (gap.kind, gap.direction) {
            // Envoy sends it before the first bytes that are recorded.
            (GapKind::ProxyHeader, _) => {}
            (kind, Some(direction)) => {
                let side = &mut self.sides[direction as usize];
                if kind == GapKind::Cut {
                    side.is_cut = false;
                }
                self.skip(direction, gap.bytes);
            }
            (_, None) => {
                self.lose(Direction::Read);
                self.lose(Direction::Write);
            }
        }
    }

    fn skip(&mut self, direction: Direction, missing: u64) {
        match &mut self.talk {
            Talk::Http1(http1) => {
                http1.side(direction).skip(missing);
                http1.note_losses();
            }
            Talk::Http2(http2) => http2.side(direction).skip(missing),
            Talk::Unknown | Talk::Other if missing > 0 => self.lose(direction),
            Talk::Unknown | Talk::Other => {}
        }
    }

    fn lose(&mut self, direction: Direction) {
        let side = &mut self.sides[direction as usize];
        side.is_late = true;
        match &mut self.talk {
            Talk::Http1(http1) => {
                http1.side(direction).lose();
                http1.note_losses();
            }
            Talk::Http2(http2) => http2.side(direction).lose(),
            // A message may begin in what is missing, and not look like one afterwards.
            Talk::Unknown => {
                side.is_dark = true;
                side.begun.clear();
            }
            Talk::Other => {}
        }
    }

    /// Goes on over bytes, and returns whether some are left of which nothing is known.
    fn follow(&mut self, data: Data<'_>, patch: &mut Patch<'_>, rules: Rules<'_>) -> bool {
        let (direction, bytes) = (data.direction, patch.bytes());
        let mut at = 0;
        while at < bytes.len() {
            match &mut self.talk {
                Talk::Http1(http1) => {
                    let outcome = http1.follow(direction, at, patch, rules);
                    let Outcome::Tunnel(end) = outcome else {
                        return false;
                    };
                    *self = Self {
                        is_reported: self.is_reported,
                        expected: self.expected,
                        ..Self::default()
                    };
                    at = end;
                }
                Talk::Http2(http2) => {
                    if data.as_string {
                        http2.side(direction).lose();
                    }
                    http2.follow(direction, at, patch, rules);
                    return false;
                }
                Talk::Unknown => {
                    let side = &mut self.sides[direction as usize];
                    let known = side.begun.len();
                    let more = bytes.len().min(at + side.begun.remaining_capacity());
                    let begun = side.begun.try_extend_from_slice(&bytes[at..more]);
                    debug_assert!(begun.is_ok());
                    let beginning = if known == 0 {
                        Beginning::of(&bytes[at..])
                    } else {
                        Beginning::of(&side.begun)
                    };
                    side.begun.truncate(known);
                    match beginning {
                        // The other direction may show the protocol.
                        Beginning::Open | Beginning::Other if side.is_dark => {
                            patch.overwrite_whole(at..bytes.len(), STAND_IN);
                            return false;
                        }
                        Beginning::Open => {
                            let _ = side.begun.try_extend_from_slice(&bytes[at..more]);
                            return false;
                        }
                        _ => self.begin(direction, beginning, rules),
                    }
                }
                Talk::Other => return self.other(direction, at, patch, rules),
            }
        }
        false
    }

    /// Takes the protocol that the first bytes of a direction have shown.
    fn begin(&mut self, direction: Direction, beginning: Beginning, rules: Rules<'_>) {
        let begun = self
            .sides
            .each_mut()
            .map(|side| std::mem::take(&mut side.begun));
        let late = self.sides.each_ref().map(|side| side.is_late);
        self.talk = match beginning {
            Beginning::Http(opening) => Talk::of(opening, direction, late),
            Beginning::Frames => Talk::http2(direction, [true; 2]),
            Beginning::Open | Beginning::Other => Talk::Other,
        };
        // What has come before showed too little of itself to hold a value.
        for direction in [Direction::Read, Direction::Write] {
            let mut scratch = Vec::new();
            let mut patch = Patch::new(&begun[direction as usize], &mut scratch);
            match &mut self.talk {
                Talk::Http1(http1) => drop(http1.follow(direction, 0, &mut patch, rules)),
                Talk::Http2(http2) => http2.follow(direction, 0, &mut patch, rules),
                Talk::Unknown | Talk::Other => {}
            }
        }
    }

    /// Takes bytes of no known protocol. Returns whether they are left as they are.
    fn other(
        &mut self,
        direction: Direction,
        at: usize,
        patch: &mut Patch<'_>,
        rules: Rules<'_>,
    ) -> bool {
        let bytes = patch.bytes();
        // It may be HTTP whose beginning is not in the trace.
        let beginning = Beginning::in_the_middle(&bytes[at..]);
        self.talk = match beginning {
            Beginning::Http(opening) => Talk::of(opening, direction, [true; 2]),
            Beginning::Frames => Talk::http2(direction, [true; 2]),
            Beginning::Open | Beginning::Other => Talk::Other,
        };
        match &mut self.talk {
            Talk::Http1(http1) => {
                let _ = http1.follow(direction, at, patch, rules);
                return false;
            }
            Talk::Http2(http2) => {
                http2.follow(direction, at, patch, rules);
                return false;
            }
            Talk::Unknown | Talk::Other => {}
        }
        if rules.has_bodies {
            patch.overwrite(at..bytes.len());
            return false;
        }
        let side = &mut self.sides[direction as usize];
        side.is_dark |= has_field(&bytes[at..], rules.names);
        if side.is_dark {
            patch.overwrite_whole(at..bytes.len(), STAND_IN);
        }
        !side.is_dark
    }
}

impl Talk {
    /// A connection that begins like this; `late` says of which directions the beginning is missing.
    fn of(opening: Opening, direction: Direction, mut late: [bool; 2]) -> Self {
        match opening {
            Opening::Client(Protocol::Http1) => Self::http1(direction, late),
            Opening::Server(Protocol::Http1) => Self::http1(direction.reverse(), late),
            Opening::Client(Protocol::Http2 | Protocol::Grpc) => {
                // The preface is the first that a client sends, whatever is missing before.
                late[direction as usize] = false;
                Self::http2(direction, late)
            }
            Opening::Server(Protocol::Http2 | Protocol::Grpc) => {
                Self::http2(direction.reverse(), late)
            }
            Opening::Client(_) | Opening::Server(_) => Self::Other,
        }
    }

    fn http1(from_client: Direction, late: [bool; 2]) -> Self {
        let is_certain = |direction: Direction| !late[direction as usize];
        let mut http1 = Http1 {
            from_client,
            client: Messages::new(true, is_certain(from_client)),
            server: Messages::new(false, is_certain(from_client.reverse())),
            requests: Requests::default(),
        };
        http1.note_losses();
        Self::Http1(Box::new(http1))
    }

    fn http2(from_client: Direction, late: [bool; 2]) -> Self {
        let frames = |direction: Direction| match late[direction as usize] {
            true => Frames::unknown(),
            false => Frames::new(direction == from_client),
        };
        Self::Http2(Box::new(Http2 {
            from_client,
            client: frames(from_client),
            server: frames(from_client.reverse()),
        }))
    }
}

impl Http1 {
    fn side(&mut self, direction: Direction) -> &mut Messages {
        match direction == self.from_client {
            true => &mut self.client,
            false => &mut self.server,
        }
    }

    /// Which answer belongs to which request is not known where requests may be missing.
    fn note_losses(&mut self) {
        if !self.client.is_certain() {
            self.requests.lose();
        }
    }

    fn follow(
        &mut self,
        direction: Direction,
        at: usize,
        patch: &mut Patch<'_>,
        rules: Rules<'_>,
    ) -> Outcome {
        let Rules { names, has_bodies } = rules;
        let side = match direction == self.from_client {
            true => &mut self.client,
            false => &mut self.server,
        };
        let outcome = side.follow(at, patch, names, has_bodies, &mut self.requests);
        self.note_losses();
        outcome
    }
}

impl Http2 {
    fn side(&mut self, direction: Direction) -> &mut Frames {
        match direction == self.from_client {
            true => &mut self.client,
            false => &mut self.server,
        }
    }

    fn follow(&mut self, direction: Direction, at: usize, patch: &mut Patch<'_>, rules: Rules<'_>) {
        let Rules { names, has_bodies } = rules;
        let told = self.side(direction).follow(at, patch, names, has_bodies);
        if let Some(size) = told.table_size {
            self.side(direction.reverse()).allow(size);
        }
    }
}

impl Beginning {
    /// What bytes show, where other bytes may have come before them.
    #[inline]
    fn in_the_middle(bytes: &[u8]) -> Self {
        match bytes.first() {
            // A method, a version, or the length of a frame that needs no setting.
            Some(b'A'..=b'Z' | 0) => Self::of(bytes),
            _ => Self::Other,
        }
    }

    /// What bytes show, where they are the first of a direction.
    fn of(bytes: &[u8]) -> Self {
        if is_cut_short(bytes) {
            return Self::Open;
        }
        if let Some(opening) = protocol::http_opening(bytes)
            && let Protocol::Http1 | Protocol::Http2 = opening.protocol()
        {
            return Self::Http(opening);
        }
        if is_request(bytes) {
            return Self::Http(Opening::Client(Protocol::Http1));
        }
        match http2::are_frames(bytes, false) {
            true => Self::Frames,
            false => Self::Other,
        }
    }
}

/// Whether bytes are the beginning of what shows a protocol, and are too few to do so.
fn is_cut_short(bytes: &[u8]) -> bool {
    const SETTINGS: [Option<u8>; 9] = [
        Some(0),
        None,
        None,
        Some(4),
        Some(0),
        Some(0),
        Some(0),
        Some(0),
        Some(0),
    ];
    if bytes.len() < MIN_PREFACE && PREFACE.starts_with(bytes) || b"HTTP/1.".starts_with(bytes) {
        return true;
    }
    let may_be = |(byte, expected): (&u8, &Option<u8>)| expected.is_none_or(|it| it == *byte);
    if bytes.len() < SETTINGS.len() && bytes.iter().zip(&SETTINGS).all(may_be) {
        return true;
    }
    // A method, of which even the space after it may be missing, or all that follows.
    bytes.len() < MAX_BEGUN
        && http1::may_begin_request(bytes)
        && memchr(b' ', bytes).is_none_or(|space| space + 1 == bytes.len())
}

/// Whether bytes are a request's first line, which may be cut after a known method or in the target.
fn is_request(bytes: &[u8]) -> bool {
    match memchr(b'\n', bytes) {
        Some(end) => http1::is_request_line(&bytes[..end]),
        None => {
            let mut parts = bytes.splitn(3, |byte| *byte == b' ');
            let (method, target) = (parts.next(), parts.next());
            method.is_some_and(|method| METHODS.contains(&method))
                || (http1::may_begin_request(bytes)
                    && matches!(target, Some([b'/' | b'*' | b'h', ..])))
        }
    }
}

/// Whether one of the names and a colon stand somewhere in bytes.
fn has_field(bytes: &[u8], names: &Names) -> bool {
    memchr_iter(b':', bytes).any(|colon| {
        let before = &bytes[colon.saturating_sub(MAX_NAME + 1)..colon];
        if !before.last().is_some_and(|last| names.may_end_with(*last)) {
            return false;
        }
        let is_name = |&&byte: &&u8| byte.is_ascii_graphic() && byte != b':' && byte != b'"';
        let len = before.iter().rev().take_while(is_name).count();
        names.has(&before[before.len() - len..])
    })
}
