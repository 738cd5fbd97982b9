//! Recognizes protocols other than HTTP, by the first bytes of the client or of a server that sends first.
//!
//! Each rule was tested with the traffic of a real client (`testdata/proxy/`).
//!
//! Invariant: no HTTP message matches one of these rules.

use super::{Opening, Protocol};

/// The first words of a PostgreSQL client, after the length of its message: version 3, and the requests for TLS and GSSAPI.
const POSTGRES_VERSION: u32 = 3 << 16;
const POSTGRES_REQUESTS: [u32; 2] = [80_877_103, 80_877_104];
/// The length of the longest startup message that a PostgreSQL server accepts, in bytes.
const MAX_POSTGRES_STARTUP: u32 = 10_000;
/// The length of the longest accepted MySQL greeting, in bytes. Those of MySQL 8 and MariaDB 10 have fewer than 120.
const MAX_MYSQL_GREETING: usize = 1024;
/// The opcodes of a MongoDB client's first message: OP_QUERY and OP_MSG.
const MONGO_OPCODES: [u32; 2] = [2004, 2013];
/// The size of the largest message that a MongoDB server accepts, in bytes.
const MAX_MONGO_MESSAGE: u32 = 48_000_000;
/// The API keys of a Kafka client's first request: Metadata, SaslHandshake and ApiVersions.
const KAFKA_KEYS: [u16; 3] = [3, 17, 18];
/// An upper bound for the version of a Kafka request.
const MAX_KAFKA_VERSION: u16 = 32;
/// The size of the largest accepted Kafka request, in bytes.
const MAX_KAFKA_REQUEST: u32 = 1 << 16;
/// The first bytes of a strict Thrift message: the version of the binary protocol, an unused byte, and the type CALL or
/// ONEWAY.
const THRIFT_CALLS: [[u8; 4]; 2] = [[0x80, 1, 0, 1], [0x80, 1, 0, 4]];
/// The length of the longest accepted name of a Thrift method, in bytes.
const MAX_THRIFT_NAME: usize = 256;

/// Whether some bytes are the first ones of one end in one protocol.
type Begins = fn(&[u8]) -> bool;

const BEGINNINGS: [(Begins, Opening); 8] = [
    (is_redis, Opening::Client(Protocol::Redis)),
    (is_postgres, Opening::Client(Protocol::Postgres)),
    (is_mongo, Opening::Client(Protocol::Mongo)),
    (is_kafka, Opening::Client(Protocol::Kafka)),
    (is_thrift, Opening::Client(Protocol::Thrift)),
    (is_smtp_client, Opening::Client(Protocol::Smtp)),
    (is_mysql, Opening::Server(Protocol::Mysql)),
    (is_smtp_server, Opening::Server(Protocol::Smtp)),
];

/// The end that sent the first bytes of a connection, and their protocol.
pub(super) fn opening(bytes: &[u8]) -> Option<Opening> {
    let known = BEGINNINGS.iter().find(|(begins, _)| begins(bytes));
    known.map(|&(_, opening)| opening)
}

/// Whether these are the first bytes of a Redis client: an array of strings (RESP), which every client library sends.
fn is_redis(bytes: &[u8]) -> bool {
    let number = |mark: u8, bytes: &mut &[u8]| {
        let digits = bytes
            .iter()
            .skip(1)
            .take_while(|byte| byte.is_ascii_digit())
            .count();
        let is_number = bytes.first() == Some(&mark) && (1..=7).contains(&digits);
        let rest = bytes
            .get(1 + digits..)
            .and_then(|rest| rest.strip_prefix(b"\r\n"));
        *bytes = rest.unwrap_or_default();
        is_number && rest.is_some()
    };
    let mut rest = bytes;
    number(b'*', &mut rest) && number(b'$', &mut rest) && !rest.is_empty()
}

/// Whether these are the first bytes of a PostgreSQL client.
fn is_postgres(bytes: &[u8]) -> bool {
    let Some((&[a, b, c, d, e, f, g, h], rest)) = bytes.split_first_chunk() else {
        return false;
    };
    let (length, word) = (
        u32::from_be_bytes([a, b, c, d]),
        u32::from_be_bytes([e, f, g, h]),
    );
    match word {
        POSTGRES_VERSION => (9..=MAX_POSTGRES_STARTUP).contains(&length) && rest.contains(&0),
        _ => POSTGRES_REQUESTS.contains(&word) && length == 8,
    }
}

/// Whether these are the first bytes of a MySQL server: one packet with sequence number 0, protocol version 10, and the
/// server's version as text.
fn is_mysql(bytes: &[u8]) -> bool {
    let Some((&[low, middle, high, sequence, version], rest)) = bytes.split_first_chunk() else {
        return false;
    };
    let length = u32::from_le_bytes([low, middle, high, 0]) as usize;
    let text = rest.split(|&byte| byte == 0).next().unwrap_or_default();
    let is_text = !text.is_empty() && text.iter().all(u8::is_ascii_graphic);
    // The tap's limit may truncate the greeting.
    sequence == 0
        && version == 10
        && (text.len()..MAX_MYSQL_GREETING).contains(&length)
        && bytes.len() <= length + 4
        && is_text
        && text.len() < rest.len()
}

/// Whether these are the first bytes of a MongoDB client: a message that is not a reply.
fn is_mongo(bytes: &[u8]) -> bool {
    let Some((header, _)) = bytes.split_first_chunk::<16>() else {
        return false;
    };
    let [length, _, answers, opcode] = [0, 4, 8, 12]
        .map(|at| u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]));
    (17..=MAX_MONGO_MESSAGE).contains(&length) && answers == 0 && MONGO_OPCODES.contains(&opcode)
}

/// Whether these are the first bytes of a Kafka client: a request whose header names the client.
fn is_kafka(bytes: &[u8]) -> bool {
    let Some((header, rest)) = bytes.split_first_chunk::<14>() else {
        return false;
    };
    let word = |at: usize| u16::from_be_bytes([header[at], header[at + 1]]);
    let size = u32::from_be_bytes([header[0], header[1], header[2], header[3]]);
    // A length of -1 means no name.
    let name = match word(12) {
        u16::MAX => &[],
        length => rest.get(..usize::from(length)).unwrap_or(rest),
    };
    (10..=MAX_KAFKA_REQUEST).contains(&size)
        && bytes.len() as u64 <= u64::from(size) + 4
        && KAFKA_KEYS.contains(&word(4))
        && word(6) < MAX_KAFKA_VERSION
        && name.iter().all(u8::is_ascii_graphic)
}

/// Whether these are the first bytes of a Thrift client: a call in the binary protocol, framed or not.
fn is_thrift(bytes: &[u8]) -> bool {
    let is_call = |bytes: &[u8]| {
        let Some((start, rest)) = bytes.split_first_chunk::<4>() else {
            return false;
        };
        let Some((&length, rest)) = rest.split_first_chunk::<4>() else {
            return false;
        };
        let length = u32::from_be_bytes(length) as usize;
        let name = rest.get(..length).unwrap_or(rest);
        THRIFT_CALLS.contains(start)
            && (1..=MAX_THRIFT_NAME).contains(&length)
            && name.iter().all(u8::is_ascii_graphic)
    };
    is_call(bytes) || bytes.get(4..).is_some_and(is_call)
}

/// Whether these are the first bytes of an SMTP client.
fn is_smtp_client(bytes: &[u8]) -> bool {
    let command = bytes.get(..5).unwrap_or_default();
    [b"EHLO ", b"HELO ", b"LHLO "]
        .iter()
        .any(|known| command.eq_ignore_ascii_case(*known))
        && bytes.ends_with(b"\r\n")
}

/// Whether these are the first bytes of an SMTP server. The greeting of FTP has the same number, but not the name.
fn is_smtp_server(bytes: &[u8]) -> bool {
    let line = bytes.strip_suffix(b"\r\n").unwrap_or_default();
    (line.starts_with(b"220 ") || line.starts_with(b"220-"))
        && memchr::memmem::find(line, b"SMTP").is_some()
        && line
            .iter()
            .all(|&byte| !byte.is_ascii_control() || b"\r\n".contains(&byte))
}
