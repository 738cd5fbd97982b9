//! One TCP conversation: the segments of each event, and their numbers.
//!
//! Pure: no clock, no randomness, no addresses. Both directions count from their initial sequence number; every
//! segment acknowledges everything that the other side has sent.
//!
//! Invariant: consecutive segments of a direction leave neither a gap nor an overlap.

use crate::model::event::{Direction, Timestamp};
use crate::model::protocol::Role;

/// A TCP sequence number, which wraps at 2^32 (RFC 9293, section 3.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SeqNumber(pub(super) u32);

impl SeqNumber {
    /// The number `n` bytes later.
    const fn advance(self, n: usize) -> Self {
        // Truncation is intended: only the remainder modulo 2^32 matters.
        Self(self.0.wrapping_add(n as u32))
    }
}

/// The flags of a segment, as in its header (RFC 9293, section 3.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Flags(pub(super) u8);

pub(super) const FIN: Flags = Flags(0x01);
pub(super) const SYN: Flags = Flags(0x02);
pub(super) const PSH: Flags = Flags(0x08);
pub(super) const ACK: Flags = Flags(0x10);

impl Flags {
    /// Whether `flag` is set.
    pub(super) const fn has(self, flag: Self) -> bool {
        self.0 & flag.0 != 0
    }

    /// Combines flags.
    pub(super) const fn and(self, others: Self) -> Self {
        Self(self.0 | others.0)
    }
}

/// A TCP segment without ports and addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Segment<'a> {
    pub(super) time: Timestamp,
    pub(super) direction: Direction,
    pub(super) seq: SeqNumber,
    /// The acknowledgement number, if the ACK flag is set.
    pub(super) ack: SeqNumber,
    pub(super) flags: Flags,
    /// The payload, as far as it is recorded.
    pub(super) payload: &'a [u8],
    /// The length of the payload on the wire, in bytes.
    pub(super) original_len: usize,
}

/// The state of both sides of a TCP connection.
#[derive(Clone, Debug)]
pub(super) struct Conversation {
    /// The next sequence number of the bytes received by Envoy, and of those sent by it.
    read: SeqNumber,
    write: SeqNumber,
    /// The maximum payload of a segment, in bytes.
    mss: usize,
    /// The maximum payload of an IP packet, in bytes.
    max_payload: usize,
    handshake: Option<Role>,
    /// Whether the local side has ended its stream.
    local_ended: bool,
}

impl Conversation {
    /// Creates a conversation with initial sequence numbers from `seed`.
    ///
    /// `handshake` is the side that opens it, if the handshake is to be shown.
    pub(super) fn new(seed: u64, mss: usize, max_payload: usize, handshake: Option<Role>) -> Self {
        Self {
            // A SYN, shown or not, takes one sequence number.
            read: SeqNumber(seed as u32).advance(1),
            write: SeqNumber((seed >> 32) as u32).advance(1),
            mss: mss.clamp(1, max_payload),
            max_payload,
            handshake,
            local_ended: false,
        }
    }

    #[inline(always)]
    fn next(&mut self, direction: Direction) -> &mut SeqNumber {
        match direction {
            Direction::Read => &mut self.read,
            Direction::Write => &mut self.write,
        }
    }

    /// Sends SYN, SYN-ACK and ACK, if they are to be shown.
    pub(super) fn open<E>(
        &mut self,
        time: Timestamp,
        out: &mut impl FnMut(Segment<'static>) -> Result<(), E>,
    ) -> Result<(), E> {
        let Some(role) = self.handshake else {
            return Ok(());
        };
        let client = role.from_client();
        // The SYN has the number before that of the first byte.
        let client_isn = SeqNumber(self.next(client).0.wrapping_sub(1));
        let server_isn = SeqNumber(self.next(client.reverse()).0.wrapping_sub(1));
        let mut syn = self.segment(time, client, SYN);
        (syn.seq, syn.ack) = (client_isn, SeqNumber(0));
        let mut syn_ack = self.segment(time, client.reverse(), SYN.and(ACK));
        syn_ack.seq = server_isn;
        let ack = self.segment(time, client, ACK);
        out(syn)?;
        out(syn_ack)?;
        out(ack)
    }

    /// Sends `payload`, the beginning of `original_len` bytes in one direction, in as many segments as needed.
    pub(super) fn data<'a, E>(
        &mut self,
        time: Timestamp,
        direction: Direction,
        mut payload: &'a [u8],
        mut original_len: usize,
        out: &mut impl FnMut(Segment<'a>) -> Result<(), E>,
    ) -> Result<(), E> {
        while original_len > 0 {
            // Unknown bytes need no small segments, and a claimed size must not make many of them.
            let limit = if payload.is_empty() {
                self.max_payload
            } else {
                self.mss
            };
            let len = original_len.min(limit);
            let mut segment = self.segment(time, direction, PSH.and(ACK));
            (segment.payload, payload) = payload.split_at(len.min(payload.len()));
            segment.original_len = len;
            *self.next(direction) = self.next(direction).advance(len);
            original_len -= len;
            out(segment)?;
        }
        Ok(())
    }

    /// Sends the complete `payload`: the same as [`data`](Self::data) with the payload's length.
    #[inline(always)]
    pub(super) fn whole<'a, E>(
        &mut self,
        time: Timestamp,
        direction: Direction,
        mut payload: &'a [u8],
        mut out: impl FnMut(Segment<'a>) -> Result<(), E>,
    ) -> Result<(), E> {
        while !payload.is_empty() {
            let mut segment = self.segment(time, direction, PSH.and(ACK));
            (segment.payload, payload) = payload.split_at(payload.len().min(self.mss));
            segment.original_len = segment.payload.len();
            *self.next(direction) = segment.seq.advance(segment.original_len);
            out(segment)?;
        }
        Ok(())
    }

    /// Records that Envoy ended its side of the stream.
    pub(super) const fn end_local(&mut self) {
        self.local_ended = true;
    }

    /// Ends the conversation; `recorded`: the trace records the end.
    ///
    /// A recorded end becomes a FIN of the side that closed; with a handshake, both sides send FINs.
    pub(super) fn close<E>(
        &mut self,
        time: Timestamp,
        recorded: bool,
        out: &mut impl FnMut(Segment<'static>) -> Result<(), E>,
    ) -> Result<(), E> {
        let first = if self.local_ended {
            Direction::Write
        } else {
            Direction::Read
        };
        if recorded || self.handshake.is_some() {
            out(self.fin(time, first))?;
        }
        if self.handshake.is_some() {
            out(self.fin(time, first.reverse()))?;
            out(self.segment(time, first, ACK))?;
        }
        Ok(())
    }

    fn fin(&mut self, time: Timestamp, direction: Direction) -> Segment<'static> {
        let segment = self.segment(time, direction, FIN.and(ACK));
        *self.next(direction) = segment.seq.advance(1);
        segment
    }

    #[inline(always)]
    fn segment(&mut self, time: Timestamp, direction: Direction, flags: Flags) -> Segment<'static> {
        Segment {
            time,
            direction,
            seq: *self.next(direction),
            ack: *self.next(direction.reverse()),
            flags,
            payload: &[],
            original_len: 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::convert::Infallible;

    const TIME: Timestamp = Timestamp::from_nanos(1);

    fn collect<'a>(
        f: impl FnOnce(&mut dyn FnMut(Segment<'a>) -> Result<(), Infallible>) -> Result<(), Infallible>,
    ) -> Vec<Segment<'a>> {
        let mut segments = Vec::new();
        let Ok(()) = f(&mut |segment| {
            segments.push(segment);
            Ok(())
        });
        segments
    }

    #[test]
    fn sequence_numbers_wrap_at_2_to_the_32() {
        // Both sides start three bytes before the numbers wrap.
        let seed = u64::from(u32::MAX - 3) << 32 | u64::from(u32::MAX - 3);
        let mut conversation = Conversation::new(seed, 1460, 1460, None);
        let bytes = b"0123456789";
        let mut segments = Vec::new();
        for direction in [Direction::Write, Direction::Write, Direction::Read] {
            segments.extend(collect(|mut out| {
                conversation.data(TIME, direction, bytes, bytes.len(), &mut out)
            }));
        }
        let seen: Vec<_> = segments.iter().map(|s| (s.seq.0, s.ack.0)).collect();
        assert_eq!(
            seen,
            [
                (u32::MAX - 2, u32::MAX - 2),
                (7, u32::MAX - 2),
                (u32::MAX - 2, 17)
            ]
        );
    }

    #[test]
    fn numbers_stay_exact_over_more_than_4_gib() {
        let mut conversation = Conversation::new(41, 65_495, 65_495, None);
        let start = conversation.read;
        let event = vec![7; 5 << 20];
        let mut sent = 0_u64;
        while sent < (9 << 30) {
            let segments = collect(|mut out| {
                conversation.data(TIME, Direction::Read, &event, event.len(), &mut out)
            });
            for segment in segments {
                assert_eq!(
                    segment.seq.0,
                    (u64::from(start.0) + sent) as u32,
                    "after {sent} bytes"
                );
                assert_eq!(segment.payload.len(), segment.original_len);
                sent += segment.original_len as u64;
            }
        }
        let ack = conversation.segment(TIME, Direction::Write, ACK).ack;
        assert_eq!(ack.0, (u64::from(start.0) + sent) as u32);
    }

    #[test]
    fn a_handshake_opens_and_closes_from_the_right_sides() {
        for (role, local_ended) in [(Role::Downstream, false), (Role::Upstream, true)] {
            let mut conversation = Conversation::new(5, 1460, 1460, Some(role));
            let mut segments = collect(|mut out| conversation.open(TIME, &mut out));
            if local_ended {
                conversation.end_local();
            }
            segments.extend(collect(|mut out| conversation.close(TIME, true, &mut out)));
            let client = role.from_client();
            let closer = if local_ended {
                Direction::Write
            } else {
                Direction::Read
            };
            let directions: Vec<_> = segments.iter().map(|s| s.direction).collect();
            let server = client.reverse();
            assert_eq!(
                directions,
                [client, server, client, closer, closer.reverse(), closer]
            );
            let (syn, syn_ack, ack) = (&segments[0], &segments[1], &segments[2]);
            assert_eq!((syn.flags, syn.ack), (SYN, SeqNumber(0)));
            assert_eq!(
                (syn_ack.flags, syn_ack.ack),
                (SYN.and(ACK), syn.seq.advance(1))
            );
            assert_eq!(
                (ack.seq, ack.ack),
                (syn.seq.advance(1), syn_ack.seq.advance(1))
            );
            let (fin, other, last) = (&segments[3], &segments[4], &segments[5]);
            let fins = FIN.and(ACK);
            assert_eq!((fin.flags, other.flags, last.flags), (fins, fins, ACK));
            assert_eq!(other.ack, fin.seq.advance(1));
            assert_eq!(
                (last.seq, last.ack),
                (fin.seq.advance(1), other.seq.advance(1))
            );
        }
    }

    #[test]
    fn unknown_bytes_take_large_segments_whatever_the_mss() {
        let mut conversation = Conversation::new(5, 2, 60_000, None);
        let payload = b"abcde";
        let segments = collect(|mut out| {
            conversation.data(TIME, Direction::Write, payload, 100_000, &mut out)
        });
        let seen: Vec<_> = segments
            .iter()
            .map(|s| (s.payload.len(), s.original_len))
            .collect();
        assert_eq!(seen, [(2, 2), (2, 2), (1, 2), (0, 60_000), (0, 39_994)]);
    }
}
