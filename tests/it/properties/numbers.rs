//! The checksums of all payloads, and sequence numbers that wrap around.

use super::*;

/// Datagrams of IPv4 and IPv6.
fn datagrams(ips: [&str; 2], payloads: &[Vec<u8>]) -> Vec<u8> {
    let (local, remote) = (udp_socket(ips[0], 10000), udp_socket(ips[1], 50000));
    let mut trace = begin(7, &connection(Some(&local), Some(&remote)));
    for (i, payload) in payloads.iter().enumerate() {
        let event = Ev::new(What::Write, 10 * i as i32, payload.clone());
        trace.extend(segment(7, &event.message()));
    }
    trace
}

proptest! {
    #![proptest_config(config(64))]

    /// Checksums are right for any payload. In UDP, a checksum of 0 is written as all ones, because 0 means that there is
    /// none (RFC 768). In TCP, 0 is written as it is.
    #[test]
    fn checksums_are_right_for_any_payload(
        v6 in any::<bool>(),
        seed in any::<u64>(),
        // With the two bytes, it is still one segment of at most 65,495 bytes.
        len in prop_oneof![0..70_usize, 1000..1500_usize, 65_000..65_494_usize],
    ) {
        let ips = if v6 { ["fd00::1", "fd00::2"] } else { ["10.0.0.1", "10.0.0.2"] };
        let payload: Vec<u8> = noise(seed).take(len).collect();
        // Two more bytes, at an even position, make the checksum 0.
        let even: Vec<u8> = noise(seed).take(len / 2 * 2).chain([0, 0]).collect();
        let completed = |checksum: u16| {
            let len = even.len() - 2;
            [&even[..len], &checksum.to_be_bytes()].concat()
        };

        let (capture, _) = convert(&datagrams(ips, &[payload.clone(), even.clone()]), How::default());
        prop_assert_eq!(capture.records.len(), 2);
        prop_assert!(capture.records.iter().all(Record::is_udp));
        let [first, second] =
            [0, 1].map(|i| capture.records[i].datagram().expect("a datagram"));
        prop_assert_eq!((first.payload, first.length), (&payload[..], payload.len()));
        prop_assert_eq!((first.source.port(), first.destination.port()), (10000, 50000));
        let trace = datagrams(ips, &[completed(second.checksum)]);
        let (capture, _) = convert(&trace, How::default());
        let datagram = capture.records[0].datagram().expect("a datagram");
        prop_assert_eq!(datagram.checksum, 0xffff);

        let of = |data: &[u8]| {
            let made = [Made::v4, Made::v6][usize::from(v6)](vec![Ev::new(What::Read, 0, data)]);
            convert(&made.encode(Form::Binary).bytes, How::default()).0
        };
        let (odd, even) = (of(&payload), of(&even));
        for segment in odd.segments() {
            prop_assert_eq!(segment.payload, &payload[..]);
        }
        let zero = of(&completed(even.segments()[0].checksum));
        prop_assert_eq!(zero.segments()[0].checksum, 0);
    }
}

/// The ends of the space of sequence numbers, and of its half, where signed arithmetic would fail.
const BORDERS: [u64; 2] = [1 << 31, 1 << 32];

/// The id of a connection, and the sequence number of its first byte in one direction.
#[derive(Clone, Copy, Debug)]
struct Start {
    id: u64,
    first: u32,
}

/// Connections whose sequence numbers begin shortly before one of these ends, for each end and direction.
fn starts() -> &'static [[Start; 2]; 2] {
    static STARTS: OnceLock<[[Start; 2]; 2]> = OnceLock::new();
    STARTS.get_or_init(|| {
        let firsts: Vec<_> = (0..2000)
            .map(|id| {
                let events = vec![Ev::new(What::Read, 0, b"a"), Ev::new(What::Write, 1, b"b")];
                let made = Made {
                    id,
                    ..Made::v4(events)
                };
                let (capture, _) = convert(&made.encode(Form::Streamed).bytes, How::default());
                let numbers = capture.segments();
                (id, [numbers[0].sequence, numbers[1].sequence])
            })
            .collect();
        let closest = |border: u64, way: usize| {
            let before = |&&(_, first): &&(u64, [u32; 2])| u64::from(first[way]) < border - 4000;
            let (id, first) = (firsts.iter().filter(before))
                .max_by_key(|(_, first)| first[way])
                .expect("one in two thousand");
            Start {
                id: *id,
                first: first[way],
            }
        };
        BORDERS.map(|border| [0, 1].map(|way| closest(border, way)))
    })
}

proptest! {
    #![proptest_config(config(64))]

    /// Sequence numbers and acknowledgements continue across 2^31 and 2^32, at any position in an event.
    #[test]
    fn sequence_numbers_wrap_around(
        border in 0..2_usize,
        way in 0..2_usize,
        short_of in 1..3000_u64,
        lens in prop::collection::vec(0..2500_usize, 1..8),
        mss in prop::option::of(1..1500_usize),
    ) {
        let start = starts()[border][way];
        let there = [What::Read, What::Write][way];
        let back = [What::Write, What::Read][way];
        let distance = BORDERS[border] - u64::from(start.first);
        // A truncated event moves the numbers to the position wanted.
        let size = distance - short_of;
        let mut events = vec![Ev {
            truncated: true,
            seq_num: 1,
            ..Ev::new(there, 0, b"abc")
        }];
        let mut count = 1 + size;
        // The last event crosses the border in any case.
        for (i, len) in lens.iter().copied().chain([3000]).enumerate() {
            for (what, len) in [(there, len), (back, 1)] {
                let data: Vec<u8> = noise(i as u64).take(len).collect();
                events.push(Ev {
                    seq_num: count,
                    ..Ev::new(what, 10 + i as i32, data)
                });
                count += len as u64;
            }
        }
        let made = Made { id: start.id, ..Made::v4(events) };
        let how = How { mss, ..How::default() };
        let (capture, _) = convert(&made.encode(Form::Streamed).bytes, how);
        // The bytes that each side has sent, counted in 64 bits.
        let mut sent = [None, None];
        let mut crossed = false;
        for segment in capture.segments() {
            let from = usize::from(segment.source.port() == made.local.1);
            prop_assert_eq!(segment.source.port() == made.remote.1, from == 0);
            let next = *sent[from].get_or_insert(u64::from(segment.sequence));
            prop_assert_eq!(u64::from(segment.sequence), next % (1 << 32), "{:?}", segment);
            let acknowledged = *sent[1 - from].get_or_insert(u64::from(segment.acknowledgement));
            prop_assert_eq!(u64::from(segment.acknowledgement), acknowledged % (1 << 32));
            sent[from] = Some(next + segment.length as u64);
            crossed |= from == way && (next..next + segment.length as u64).contains(&BORDERS[border]);
        }
        prop_assert!(crossed, "{:?} short by {}", start, short_of);
        capture.streams();
    }
}
