//! One connection: its protocol, and which of its bytes are missing.

use arrayvec::ArrayVec;

use crate::model::event::{Direction, Gap, GapKind};
use crate::model::protocol::Parsed;

use super::beginning::Beginning;
use super::http1::Outcome;
use super::names::Names;
use super::patch::{Patch, STAND_IN};
use super::state::ProtocolState;

/// The number of a direction's first bytes that are kept until they show the protocol.
pub(super) const MAX_BEGUN: usize = 32;

/// The fields to overwrite, and whether bodies are overwritten.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rules<'a> {
    pub(super) names: &'a Names,
    pub(super) has_bodies: bool,
}

/// The state of a connection.
#[derive(Debug, Default)]
pub(super) struct Connection {
    state: ProtocolState,
    sides: [Side; 2],
    /// Envoy's count of bytes at the next event, if the last event had a count.
    expected: Option<u64>,
    /// Whether it was reported as not redacted.
    is_reported: bool,
}

/// The state of a direction that does not depend on the protocol.
#[derive(Debug, Default)]
struct Side {
    /// The first bytes, while the protocol is unknown.
    begun: ArrayVec<u8, MAX_BEGUN>,
    /// Whether an unknown number of bytes is missing before the next byte.
    is_cut: bool,
    /// Whether the first bytes are missing.
    is_late: bool,
    /// Whether bytes of an unknown protocol are overwritten.
    is_overwritten: bool,
}

/// The properties of an event's bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Data<'a> {
    pub(super) direction: Direction,
    pub(super) gap: Option<&'a Gap>,
    /// Whether bytes after them are missing, and their number if it is known.
    pub(super) is_truncated: bool,
    pub(super) missing: Option<u64>,
    /// Whether they were recorded as a string, which lacks bytes that are not UTF-8.
    pub(super) as_string: bool,
    /// Envoy's count of bytes before them.
    pub(super) count: Option<u64>,
}

impl Data<'_> {
    /// The properties of bytes, all of which are recorded.
    pub(super) const fn whole(direction: Direction, count: Option<u64>) -> Self {
        Self {
            direction,
            gap: None,
            is_truncated: false,
            missing: None,
            as_string: false,
            count,
        }
    }

    /// The count after `len` bytes and those missing after them, if it is known.
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

impl Connection {
    /// Takes the bytes of an event. Returns whether they are the first of the connection that stay although their
    /// protocol is unknown.
    #[inline(always)]
    pub(super) fn take(&mut self, data: Data<'_>, patch: &mut Patch<'_>, rules: Rules<'_>) -> bool {
        let is_whole = data.gap.is_none() && !data.is_truncated && !data.as_string;
        let is_cut = self.sides[data.direction as usize].is_cut;
        // Nearly all follow the bytes of the event before.
        if !is_whole || is_cut || data.count != self.expected {
            return self.data(data, patch, rules);
        }
        if let Some(expected) = &mut self.expected {
            *expected = expected.saturating_add(patch.bytes().len() as u64);
        }
        let at = self.pass(data.direction, patch, rules);
        at < patch.bytes().len() && self.next(data.direction, at, patch, rules)
    }

    /// Takes the first bytes of an event if they are certainly inside a body, or complete frames, and returns their
    /// number.
    #[inline(always)]
    fn pass(&mut self, direction: Direction, patch: &mut Patch<'_>, rules: Rules<'_>) -> usize {
        let Rules { names, has_bodies } = rules;
        let bytes = patch.bytes();
        let is_inside = match &mut self.state {
            ProtocolState::Http1(http1) => !has_bodies && http1.side(direction).pass(bytes),
            ProtocolState::Http2(http2) => {
                let side = http2.side(direction);
                if side.is_between_frames() {
                    let end = side.plain_frames(0, patch, names, has_bodies);
                    if end == bytes.len() {
                        patch.parsed = Some(Parsed::Frames);
                    }
                    return end;
                }
                !has_bodies && side.pass(bytes)
            }
            ProtocolState::Unknown | ProtocolState::Other => false,
        };
        if is_inside { bytes.len() } else { 0 }
    }

    /// Takes the bytes of an event from `at` on, none of which are missing, nor any before or after them.
    fn next(
        &mut self,
        direction: Direction,
        mut at: usize,
        patch: &mut Patch<'_>,
        rules: Rules<'_>,
    ) -> bool {
        match &mut self.state {
            ProtocolState::Http1(http1) => {
                match http1.follow(direction, at, patch, rules) {
                    Outcome::Http => return false,
                    Outcome::Tunnel(end) => at = end,
                }
                self.begin_tunnel();
            }
            ProtocolState::Http2(http2) => {
                // The bytes before `at` are complete frames.
                let is_begin = http2.side(direction).is_between_frames();
                http2.follow(direction, at, patch, rules);
                if is_begin && http2.side(direction).is_between_frames() {
                    patch.parsed = Some(Parsed::Frames);
                }
                return false;
            }
            ProtocolState::Unknown | ProtocolState::Other => {}
        }
        let is_left = self.follow(direction, at, false, patch, rules);
        is_left && !std::mem::replace(&mut self.is_reported, true)
    }

    /// Begins the connection that a connection of HTTP/1 becomes.
    #[cold]
    fn begin_tunnel(&mut self) {
        *self = Self {
            is_reported: self.is_reported,
            expected: self.expected,
            ..Self::default()
        };
    }

    /// Takes any bytes.
    fn data(&mut self, data: Data<'_>, patch: &mut Patch<'_>, rules: Rules<'_>) -> bool {
        if let Some(gap) = data.gap {
            self.gap(gap);
        } else if let (Some(count), Some(expected)) = (data.count, self.expected)
            && count != expected
        {
            // A string lacks bytes, or the count is invalid.
            self.lose(Direction::Read);
            self.lose(Direction::Write);
        }
        self.expected = data.end(patch.bytes().len());
        let side = &mut self.sides[data.direction as usize];
        if !patch.bytes().is_empty() && std::mem::take(&mut side.is_cut) {
            self.lose(data.direction);
        }
        let is_left = self.follow(data.direction, 0, data.as_string, patch, rules);
        match data.missing {
            _ if !data.is_truncated => {}
            Some(missing) => self.skip(data.direction, missing),
            None => self.sides[data.direction as usize].is_cut = true,
        }
        is_left && !std::mem::replace(&mut self.is_reported, true)
    }

    /// Notes that bytes of a direction may be missing.
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
        match &mut self.state {
            ProtocolState::Http1(http1) => {
                http1.side(direction).skip(missing);
                http1.note_losses();
            }
            ProtocolState::Http2(http2) => http2.side(direction).skip(missing),
            ProtocolState::Unknown | ProtocolState::Other if missing > 0 => self.lose(direction),
            ProtocolState::Unknown | ProtocolState::Other => {}
        }
    }

    fn lose(&mut self, direction: Direction) {
        let side = &mut self.sides[direction as usize];
        side.is_late = true;
        match &mut self.state {
            ProtocolState::Http1(http1) => {
                http1.side(direction).lose();
                http1.note_losses();
            }
            ProtocolState::Http2(http2) => http2.side(direction).lose(),
            // A message may begin in the missing bytes, so that the next bytes do not look like one.
            ProtocolState::Unknown => {
                side.is_overwritten = true;
                side.begun.clear();
            }
            ProtocolState::Other => {}
        }
    }

    /// Follows the bytes of an event from `at` on. Returns whether bytes of an unknown protocol stay.
    fn follow(
        &mut self,
        direction: Direction,
        mut at: usize,
        as_string: bool,
        patch: &mut Patch<'_>,
        rules: Rules<'_>,
    ) -> bool {
        let bytes = patch.bytes();
        while at < bytes.len() {
            match &mut self.state {
                ProtocolState::Http1(http1) => {
                    let outcome = http1.follow(direction, at, patch, rules);
                    let Outcome::Tunnel(end) = outcome else {
                        return false;
                    };
                    at = end;
                    self.begin_tunnel();
                }
                ProtocolState::Http2(http2) => {
                    if as_string {
                        http2.side(direction).lose();
                    }
                    http2.follow(direction, at, patch, rules);
                    return false;
                }
                ProtocolState::Unknown => {
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
                        Beginning::Open | Beginning::Other if side.is_overwritten => {
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
                ProtocolState::Other => return self.other(direction, at, patch, rules),
            }
        }
        false
    }

    /// Begins the protocol that the first bytes of a direction have shown.
    fn begin(&mut self, direction: Direction, beginning: Beginning, rules: Rules<'_>) {
        let begun = self
            .sides
            .each_mut()
            .map(|side| std::mem::take(&mut side.begun));
        let late = self.sides.each_ref().map(|side| side.is_late);
        self.state = match beginning {
            Beginning::Http(opening) => ProtocolState::of(opening, direction, late),
            Beginning::Frames => ProtocolState::http2(direction, [true; 2]),
            Beginning::Open | Beginning::Other => ProtocolState::Other,
        };
        // The earlier bytes were too few to hold a value.
        for direction in [Direction::Read, Direction::Write] {
            let mut scratch = Vec::new();
            let mut patch = Patch::new(&begun[direction as usize], &mut scratch);
            match &mut self.state {
                ProtocolState::Http1(http1) => drop(http1.follow(direction, 0, &mut patch, rules)),
                ProtocolState::Http2(http2) => http2.follow(direction, 0, &mut patch, rules),
                ProtocolState::Unknown | ProtocolState::Other => {}
            }
        }
    }

    /// Takes bytes of an unknown protocol. Returns whether they stay.
    fn other(
        &mut self,
        direction: Direction,
        at: usize,
        patch: &mut Patch<'_>,
        rules: Rules<'_>,
    ) -> bool {
        let bytes = patch.bytes();
        // It may be HTTP with its beginning not in the trace.
        let beginning = Beginning::in_the_middle(&bytes[at..]);
        self.state = match beginning {
            Beginning::Http(opening) => ProtocolState::of(opening, direction, [true; 2]),
            Beginning::Frames => ProtocolState::http2(direction, [true; 2]),
            Beginning::Open | Beginning::Other => ProtocolState::Other,
        };
        match &mut self.state {
            ProtocolState::Http1(http1) => {
                let _ = http1.follow(direction, at, patch, rules);
                return false;
            }
            ProtocolState::Http2(http2) => {
                http2.follow(direction, at, patch, rules);
                return false;
            }
            ProtocolState::Unknown | ProtocolState::Other => {}
        }
        if rules.has_bodies {
            patch.overwrite(at..bytes.len());
            return false;
        }
        let side = &mut self.sides[direction as usize];
        side.is_overwritten |= rules.names.are_in(&bytes[at..]);
        if side.is_overwritten {
            patch.overwrite_whole(at..bytes.len(), STAND_IN);
        }
        !side.is_overwritten
    }
}
