//! The upstream server, with HTTP/1. It answers GET with known bodies, and POST with the body of the request.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;

/// `length` bytes of text: letters and line ends.
pub(crate) fn text(length: usize) -> Vec<u8> {
    let line = b"All that is on the wire is in the trace.\n";
    line.iter().copied().cycle().take(length).collect()
}

/// `length` bytes, most of which are not text.
pub(crate) fn bytes(length: usize) -> Vec<u8> {
    let mut state = 1_u32;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    (0..length).map(|_| next()).collect()
}

/// Listens on `count` free ports of 127.0.0.1 until the process ends, and returns the ports.
pub(crate) fn start(count: usize) -> Vec<u16> {
    let one = |_| {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = listener.local_addr().expect("an address").port();
        thread::spawn(move || {
            for stream in listener.incoming() {
                let stream = stream.expect("a connection");
                thread::spawn(move || serve(&stream));
            }
        });
        port
    };
    (0..count).map(one).collect()
}

/// Answers the requests of a connection, one after the other.
fn serve(mut stream: &TcpStream) {
    let mut reader = BufReader::new(stream);
    // The connection ends in place of a request line, or with an error, which the client reports.
    while let Ok(Some((path, body))) = request(&mut reader) {
        let number = |prefix| path.strip_prefix(prefix)?.parse::<usize>().ok();
        let (status, kind, body) = if let Some(length) = number("/text/") {
            ("200 OK", "text/plain", text(length))
        } else if let Some(length) = number("/bytes/") {
            ("200 OK", "application/octet-stream", bytes(length))
        } else if path.starts_with("/echo?") {
            ("200 OK", "application/octet-stream", body)
        } else {
            ("404 Not Found", "text/plain", b"nothing here\n".to_vec())
        };
        let length = body.len();
        let head = format!(
            "HTTP/1.1 {status}\r\ncontent-type: {kind}\r\ncontent-length: {length}\r\n\r\n"
        );
        if stream
            .write_all(&[head.as_bytes(), &body].concat())
            .is_err()
        {
            return;
        }
    }
}

/// The path and the body of the next request.
fn request(reader: &mut impl BufRead) -> std::io::Result<Option<(String, Vec<u8>)>> {
    let mut line = String::new();
    if reader.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let path = line.split(' ').nth(1).expect("a path").to_owned();
    let mut length = 0;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let line = line.trim_end().to_ascii_lowercase();
        if line.is_empty() {
            break;
        }
        if let Some(value) = line.strip_prefix("content-length:") {
            length = value.trim().parse().expect("a length");
        }
        assert!(
            !line.starts_with("transfer-encoding"),
            "{line}: not read here"
        );
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    Ok(Some((path, body)))
}
