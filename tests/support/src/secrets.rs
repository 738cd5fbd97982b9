//! Conversations with secrets: HTTP/1 and HTTP/2, with header fields in every representation.
//!
//! Header blocks are encoded by a crate that the program does not use.

use httlib_hpack::Encoder;

/// A source of pseudo-random numbers.
pub struct Choices(pub u64);

impl Choices {
    /// A number below `limit`.
    pub fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let x = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((x ^ (x >> 31)) % limit.max(1) as u64) as usize
    }

    pub fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    fn of<'a, T: ?Sized>(&mut self, all: &[&'a T]) -> &'a T {
        all[self.below(all.len())]
    }
}

/// Bytes that one side sends. Those of values may be overwritten.
#[derive(Clone, Debug, Default)]
pub struct Sent {
    pub from_client: bool,
    pub bytes: Vec<u8>,
    pub is_value: Vec<bool>,
}

impl Sent {
    fn put(&mut self, bytes: impl AsRef<[u8]>) {
        self.add(bytes.as_ref(), false);
    }

    fn value(&mut self, bytes: &[u8]) {
        self.add(bytes, true);
    }

    fn add(&mut self, bytes: &[u8], is_value: bool) {
        self.bytes.extend_from_slice(bytes);
        self.is_value.resize(self.bytes.len(), is_value);
    }

    /// The bytes up to `at`, which are taken off.
    fn split_to(&mut self, at: usize) -> Self {
        let (rest, rest_is_value) = (self.bytes.split_off(at), self.is_value.split_off(at));
        Self {
            from_client: self.from_client,
            bytes: std::mem::replace(&mut self.bytes, rest),
            is_value: std::mem::replace(&mut self.is_value, rest_is_value),
        }
    }
}

/// A connection's bytes in the order in which they were sent.
#[derive(Debug, Default)]
pub struct Conversation {
    pub sent: Vec<Sent>,
    pub secrets: Vec<Vec<u8>>,
    /// Where the first frame of HTTP/2 begins in the server's bytes and in the client's, if there is one.
    pub frames: Option<[usize; 2]>,
}

/// The names whose values are secrets: those that always are, and `x-token`.
pub const SECRET_NAMES: [&str; 6] = [
    "authorization",
    "proxy-authorization",
    "cookie",
    "set-cookie",
    "x-api-key",
    "x-token",
];
const OTHER_NAMES: [&str; 10] = [
    "accept",
    "user-agent",
    "x-request-id",
    "cookies",
    "authorizations",
    "x-toke",
    "date",
    "server",
    "te",
    "x-api-keys",
];

impl Conversation {
    /// A conversation of a few messages each way.
    pub fn new(choices: &mut Choices) -> Self {
        let mut conversation = Self::default();
        match choices.below(5) {
            0 | 1 => conversation.http1(choices),
            2 | 3 => conversation.http2(choices, false),
            _ => conversation.http2(choices, true),
        }
        conversation
    }

    /// The same bytes in other pieces.
    pub fn cut(&mut self, choices: &mut Choices) {
        let mut pieces = Vec::new();
        let longest = choices.of(&[&1_usize, &3, &20, &100, &100_000]).to_owned();
        for mut sent in std::mem::take(&mut self.sent) {
            while sent.bytes.len() > 1 {
                let at = 1 + choices.below(longest.min(sent.bytes.len()));
                pieces.push(sent.split_to(at.min(sent.bytes.len())));
            }
            pieces.push(sent);
        }
        self.sent = pieces;
    }

    fn secret(&mut self, choices: &mut Choices) -> Vec<u8> {
        // Some are sent more than once, so that they have an index.
        if !self.secrets.is_empty() && choices.one_in(3) {
            let known = choices.below(self.secrets.len());
            return self.secrets[known].clone();
        }
        let len = 1 + match choices.below(8) {
            0 => choices.below(8),
            1 => choices.below(2000),
            _ => 8 + choices.below(60),
        };
        let alphabet = *choices.of(&[
            &b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_."[..],
            b"0123456789abcdef",
            b" !\"#$%&'()+,-./0123456789:;<=>?@ABCXYZ[\\]^_`abcxyz{|}~\xe4\xff\x80",
        ]
        .each_ref());
        let mut secret: Vec<u8> = (0..len)
            .map(|_| alphabet[choices.below(alphabet.len())])
            .collect();
        // Spaces around a value are none of it.
        for end in [0, len - 1] {
            if secret[end] == b' ' {
                secret[end] = b'_';
            }
        }
        self.secrets.push(secret.clone());
        secret
    }

    fn http1(&mut self, choices: &mut Choices) {
        for _ in 0..1 + choices.below(4) {
            let method = *choices.of(&[&"GET", &"POST", &"HEAD", &"PUT"]);
            let mut request = Sent {
                from_client: true,
                ..Sent::default()
            };
            request.put(format!("{method} /a?b=c HTTP/1.1\r\nHost: a\r\n"));
            self.fields1(&mut request, choices);
            match method {
                "POST" | "PUT" => self.body1(&mut request, choices),
                _ => request.put("\r\n"),
            }
            self.sent.push(request);
            let mut response = Sent::default();
            if choices.one_in(4) {
                response.put("HTTP/1.1 103 Early Hints\r\n");
                self.fields1(&mut response, choices);
                response.put("\r\n");
            }
            match choices.below(6) {
                0 => {
                    response.put("HTTP/1.1 304 Not Modified\r\nContent-Length: 100\r\n");
                    self.fields1(&mut response, choices);
                    response.put("\r\n");
                }
                _ if method == "HEAD" => {
                    response.put("HTTP/1.1 200 OK\r\ncontent-length: 77\r\n");
                    self.fields1(&mut response, choices);
                    response.put("\r\n");
                }
                _ => {
                    response.put("HTTP/1.1 200 OK\r\n");
                    self.fields1(&mut response, choices);
                    self.body1(&mut response, choices);
                }
            }
            self.sent.push(response);
        }
    }

    fn fields1(&mut self, sent: &mut Sent, choices: &mut Choices) {
        for _ in 0..choices.below(6) {
            let is_secret = choices.one_in(2);
            let name = if is_secret {
                *choices.of(&SECRET_NAMES.each_ref())
            } else {
                *choices.of(&OTHER_NAMES.each_ref())
            };
            let name = match choices.below(3) {
                0 => name.to_owned(),
                1 => name.to_ascii_uppercase(),
                _ => name[..1].to_ascii_uppercase() + &name[1..],
            };
            sent.put(name);
            sent.put(*choices.of(&[&":", &": ", &":\t ", &" : "]));
            match is_secret {
                true => {
                    let secret = self.secret(choices);
                    sent.value(&secret);
                    if choices.one_in(6) {
                        sent.put("\r\n \t");
                        let more = self.secret(choices);
                        sent.value(&more);
                    }
                }
                false => sent.put(*choices.of(&[&"", &"x", &"cookie: not a secret", &"a, b"])),
            }
            sent.put(*choices.of(&[&"\r\n", &"\r\n", &"\r\n", &"\n"]));
        }
    }

    /// The rest of a head, and a body in which there are no secrets.
    fn body1(&mut self, sent: &mut Sent, choices: &mut Choices) {
        let body = |choices: &mut Choices| {
            let line = *choices
                .of(&[&b"\r\ncookie: of a body\r\n"[..], b"\0\x01\n", b"body", b""].each_ref());
            line.repeat(choices.below(30))
        };
        if choices.one_in(2) {
            let body = body(choices);
            sent.put(format!("Content-Length: {}\r\n", body.len()));
            self.fields1(sent, choices);
            sent.put("\r\n");
            sent.put(body);
            return;
        }
        sent.put("Transfer-Encoding: gzip, chunked\r\n");
        self.fields1(sent, choices);
        sent.put("\r\n");
        for _ in 0..choices.below(4) {
            let chunk = body(choices);
            if chunk.is_empty() {
                continue;
            }
            let extension = *choices.of(&[&"", &";a=b", &" ; a"]);
            sent.put(format!("{:x}{extension}\r\n", chunk.len()));
            sent.put(chunk);
            sent.put("\r\n");
        }
        sent.put("0\r\n");
        self.fields1(sent, choices);
        sent.put("\r\n");
    }

    fn http2(&mut self, choices: &mut Choices, is_upgrade: bool) {
        let mut client = Sent {
            from_client: true,
            ..Sent::default()
        };
        let mut begins = [0, 24];
        if is_upgrade {
            client.put("GET / HTTP/1.1\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n");
            self.fields1(&mut client, choices);
            client.put("\r\n");
            begins[1] += client.bytes.len();
            self.sent.push(std::mem::take(&mut client));
            let mut server = Sent::default();
            server.put("HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\n");
            self.fields1(&mut server, choices);
            server.put("\r\n");
            begins[0] = server.bytes.len();
            if choices.one_in(2) {
                self.sent.push(std::mem::take(&mut server));
            }
            server.put(frame(4, 0, 0, b""));
            self.sent.push(server);
            client.from_client = true;
        }
        client.put("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
        self.frames = Some(begins);
        let size = choices
            .of(&[&0_u32, &100, &4096, &4096, &20_000])
            .to_owned();
        let settings = [&[0, 3, 0, 0, 0, 9, 0, 1][..], &size.to_be_bytes()].concat();
        client.put(frame(4, 0, 0, &settings));
        self.sent.push(client);
        let mut server = Sent::default();
        server.put(frame(4, 0, 0, &settings));
        server.put(frame(4, 1, 0, b""));
        self.sent.push(server);
        let mut encoders = [
            Encoder::with_dynamic_size(4096),
            Encoder::with_dynamic_size(4096),
        ];
        let mut updates = [Some(size), Some(size)];
        for i in 0..1 + choices.below(5) {
            let stream = 2 * i as u32 + 1;
            for is_server in [false, true] {
                let mut sent = Sent {
                    from_client: !is_server,
                    ..Sent::default()
                };
                let at = usize::from(is_server);
                let encoder = &mut encoders[at];
                let mut update = updates[at].take();
                self.message2(stream, is_server, encoder, &mut update, &mut sent, choices);
                self.sent.push(sent);
            }
        }
    }

    fn message2(
        &mut self,
        stream: u32,
        is_server: bool,
        encoder: &mut Encoder<'_>,
        update: &mut Option<u32>,
        sent: &mut Sent,
        choices: &mut Choices,
    ) {
        if choices.one_in(4) {
            sent.put(frame(6, 0, 0, b"12345678"));
            sent.put(frame(8, 0, 0, b"\0\0\0\x09"));
            sent.put(frame(2, 0, stream, b"\0\0\0\0\x09"));
        }
        let mut first: Vec<(&str, &str)> = match is_server {
            false => vec![
                (":method", "GET"),
                (":path", "/a?cookie=1"),
                (":scheme", "http"),
                (":authority", "a"),
            ],
            true => vec![(":status", "200")],
        };
        first.push(("content-type", "application/grpc"));
        let block = self.block(&first, encoder, update, choices);
        if is_server && choices.one_in(4) {
            let promised = 2 * stream;
            let block = self.block(
                &[(":method", "GET"), (":path", "/b")],
                encoder,
                update,
                choices,
            );
            put_block(sent, 5, 0, stream, &promised.to_be_bytes(), block, choices);
        }
        // The promise's block came after this one into the table, so this one has to come first.
        let mut after = std::mem::take(sent);
        sent.from_client = after.from_client;
        let priority: &[u8] = if choices.one_in(3) {
            b"\x80\0\0\x01\x10"
        } else {
            b""
        };
        put_block(sent, 1, 0, stream, priority, block, choices);
        let rest = after.bytes.len();
        let mut rest = after.split_to(rest);
        sent.bytes.append(&mut rest.bytes);
        sent.is_value.append(&mut rest.is_value);
        for _ in 0..choices.below(3) {
            let data = choices
                .of(&[&b"\0\0\0\0\x05hello"[..], b"", b"cookie: none\r\n"].each_ref())
                .repeat(1 + choices.below(40));
            match choices.one_in(3) {
                true => sent.put(frame(0, 8, stream, &[&[3], &data[..], &[0; 3]].concat())),
                false => sent.put(frame(0, 0, stream, &data)),
            }
        }
        if choices.one_in(2) {
            let block = self.block(&[("grpc-status", "0")], encoder, update, choices);
            put_block(sent, 1, 1, stream, b"", block, choices);
        }
    }

    /// A header block of these fields and some more.
    fn block(
        &mut self,
        first: &[(&str, &str)],
        encoder: &mut Encoder<'_>,
        update: &mut Option<u32>,
        choices: &mut Choices,
    ) -> Sent {
        let mut block = Sent::default();
        if let Some(size) = update.take() {
            let mut bytes = Vec::new();
            encoder.update_max_dynamic_size(size, &mut bytes).unwrap();
            block.put(bytes);
        }
        for (name, value) in first {
            put_field(&mut block, encoder, name, value.as_bytes(), false, choices);
        }
        for _ in 0..choices.below(6) {
            let is_secret = choices.one_in(2);
            let name = if is_secret {
                *choices.of(&SECRET_NAMES.each_ref())
            } else {
                *choices.of(&OTHER_NAMES.each_ref())
            };
            let value = match is_secret {
                true => self.secret(choices),
                false => choices
                    .of(&[
                        &b""[..],
                        b"x",
                        b"gzip, deflate",
                        b"a long value, of many words",
                    ]
                    .each_ref())
                    .to_vec(),
            };
            put_field(&mut block, encoder, name, &value, is_secret, choices);
        }
        block
    }
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let len = payload.len() as u32;
    [
        &len.to_be_bytes()[1..],
        &[kind, flags],
        &stream.to_be_bytes(),
        payload,
    ]
    .concat()
}

/// Puts a field into a block.
fn put_field(
    block: &mut Sent,
    encoder: &mut Encoder<'_>,
    name: &str,
    value: &[u8],
    is_secret: bool,
    choices: &mut Choices,
) {
    let mut flags = 0;
    for flag in [
        Encoder::HUFFMAN_NAME,
        Encoder::HUFFMAN_VALUE,
        Encoder::WITH_INDEXING,
        Encoder::BEST_FORMAT,
    ] {
        if choices.below(3) > 0 {
            flags |= flag;
        }
    }
    if flags & Encoder::WITH_INDEXING == 0 && choices.one_in(2) {
        flags |= Encoder::NEVER_INDEXED;
    }
    let mut bytes = Vec::new();
    encoder
        .encode(
            (name.as_bytes().to_vec(), value.to_vec(), flags),
            &mut bytes,
        )
        .unwrap();
    let is_indexed = bytes[0] >= 0x80;
    let len = match is_indexed || !is_secret {
        true => 0,
        false if flags & Encoder::HUFFMAN_VALUE == 0 => value.len(),
        false => huffman_len(value),
    };
    let (head, value) = bytes.split_at(bytes.len() - len);
    block.put(head);
    block.value(value);
}

/// How many bytes a value takes in Huffman's code.
fn huffman_len(value: &[u8]) -> usize {
    let mut bytes = Vec::new();
    let mut encoder = Encoder::with_dynamic_size(0);
    let field = (b"a".to_vec(), value.to_vec(), Encoder::HUFFMAN_VALUE);
    encoder.encode(field, &mut bytes).unwrap();
    // A byte for the kind, two for the name, then the length.
    let mut length = 1;
    if bytes[3] & 0x7f == 0x7f {
        length += 1 + bytes[4..].iter().position(|byte| *byte < 0x80).unwrap();
    }
    bytes.len() - 3 - length
}

/// Puts a header block into frames.
fn put_block(
    sent: &mut Sent,
    kind: u8,
    flags: u8,
    stream: u32,
    fixed: &[u8],
    mut block: Sent,
    choices: &mut Choices,
) {
    let (mut kind, mut flags, mut fixed) = (kind, flags, fixed);
    loop {
        let len = match choices.one_in(3) {
            true => choices.below(block.bytes.len() + 1),
            false => block.bytes.len(),
        };
        let fragment = block.split_to(len.min(16_000));
        let is_last = block.bytes.is_empty();
        let padding = if kind != 9 && choices.one_in(3) {
            1 + choices.below(9)
        } else {
            0
        };
        let has_priority = kind == 1 && !fixed.is_empty();
        let flags_here = flags
            | u8::from(is_last) << 2
            | u8::from(padding > 0) << 3
            | u8::from(has_priority) << 5;
        let len = usize::from(padding > 0) + fixed.len() + fragment.bytes.len() + padding;
        let header = frame(kind, flags_here, stream, &vec![0; len]);
        sent.put(&header[..9]);
        if padding > 0 {
            sent.put([padding as u8]);
        }
        sent.put(fixed);
        sent.bytes.extend_from_slice(&fragment.bytes);
        sent.is_value.extend_from_slice(&fragment.is_value);
        sent.put(vec![0; padding]);
        if is_last {
            return;
        }
        (kind, flags, fixed) = (9, 0, b"");
    }
}
