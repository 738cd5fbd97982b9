#!/usr/bin/env python3
"""Makes tap traces of any size, as Envoy 1.40 would write them.

    make_trace.py [--seq] [--id N] [--payload P] KIND EVENT_SIZE TOTAL OUT
    make_trace.py --files N [--mixed] [--seq] [--payload P] KIND EVENT_SIZE TOTAL OUT

KIND is one of

    buffered         PROTO_BINARY, one message with all events
    streamed         PROTO_BINARY, a message an event, one after the other
    delimited        PROTO_BINARY_LENGTH_DELIMITED, a message an event
    json, text       one message with all events
    streamed-json, streamed-text

EVENT_SIZE is the payload of an event, TOTAL the size of the trace; both take K, M and G. OUT is a
file, or - for standard output. With --files it is a folder for N traces, whose connections are open at
the same time and whose sizes add up to TOTAL. The traces have the same size. With --mixed, their sizes
differ by a factor of up to 1,000, and EVENT_SIZE is replaced by 100 bytes, 1,460 bytes and 16 KiB in turn.

P is the payload, one of

    noise            pseudo-random bytes; the default
    heads, bodies    HTTP/1: each event is a message with a cookie, or nearly all events are inside a body
    calls            gRPC: each event is a request with a token, or its response
    lines            text of a protocol that is not HTTP

Envoy receives and sends events in turn, 10 µs apart within a chunk. Payloads are the same for the same
arguments. A streamed trace ends with a closed event; with --seq its events have the seq_num that
Envoy writes since 1.37. Prints the number of events without the closed one.

Needs only Python 3.9. To make a gigabyte within seconds, a chunk of events is made once and repeated
with other seconds in its times.
"""

import argparse
import base64
import functools
import os
import random
import sys
import time

from payloads import CHUNK, PAYLOADS

START = 1_795_327_726  # in seconds since 1970
CHUNK_EVENTS = 50_000  # at most, so that the events of a chunk are within a second
FIRST, STEP = 300_000, 10  # in µs: nanoseconds from 2^28 to 10^9, whose varints are equally long


def varint(n):
    out = bytearray()
    while n >= 0x80:
        out.append(n & 0x7F | 0x80)
        n >>= 7
    out.append(n)
    return bytes(out)


def number(field, value):
    return varint(field << 3) + varint(value)


def opened(field, length):
    """The key and the length of a field with this number of bytes."""
    return varint(field << 3 | 2) + varint(length)


def field(number_of, value):
    return opened(number_of, len(value)) + value


class Binary:
    """An event consists of head, seconds, middle and seq, so that the parts that change are separate."""

    closed_body = field(4, b"")

    def __init__(self, ident, streamed, delimited):
        self.ident, self.streamed, self.delimited = number(1, ident), streamed, delimited
        # The field numbers of Envoy 1.28 and later.
        local, remote = (
            field(1, field(2, ip.encode()) + number(3, port)) for ip, port in addresses(ident)
        )
        self.connection = field(2, field(1, local) + field(2, remote))

    def body(self, i, payload):
        return field(2 + i % 2, field(1, field(1, payload)))

    def seconds(self, seconds):
        return varint(seconds)

    def head(self, rest):
        """The bytes before the seconds, if this number of bytes follows."""
        timestamp = b"\x08" + bytes(5) + b"\x10" + bytes(5)
        before = opened(1, len(timestamp)) + b"\x08"
        event = opened(3, len(before) + 5 + rest) + before
        if not self.streamed:
            return event
        segment = self.ident + event
        length = len(segment) + 5 + rest
        return self.message(opened(4, length), length) + segment

    def message(self, wrapper, length):
        return (varint(len(wrapper) + length) if self.delimited else b"") + wrapper

    def middle(self, micros, body):
        return number(2, micros * 1000) + body

    def seq(self, seq):
        return number(6, seq) if seq else b""

    def begin(self, events_length):
        inner = self.ident + self.connection
        if self.streamed:
            return self.message(opened(4, len(inner)), len(inner)) + inner
        return opened(3, len(inner) + events_length) + inner

    separator = end = b""


class Text:
    def __init__(self, ident, streamed):
        self.streamed = streamed
        top = "socket_streamed_trace_segment" if streamed else "socket_buffered_trace"
        self.open = f"{top} {{\n  trace_id: {ident}\n"
        self.event = (self.open if streamed else "") + (
            f"  event{'' if streamed else 's'} {{\n    timestamp {{\n      seconds: "
        )
        self.addresses = addresses(ident)
        self.end = b"" if streamed else b"}\n"

    closed_body = b"    closed {\n    }\n"

    def body(self, i, payload):
        what = b"write" if i % 2 else b"read"
        data = b"".join(map(ESCAPES.__getitem__, payload))
        return b'    %s {\n      data {\n        as_bytes: "%s"\n      }\n    }\n' % (what, data)

    def seconds(self, seconds):
        return b"%d" % seconds

    def head(self, _rest):
        return self.event.encode()

    def middle(self, micros, body):
        return b"\n      nanos: %d\n    }\n" % (micros * 1000) + body

    def seq(self, seq):
        line = b"    seq_num: %d\n" % seq if seq else b""
        return line + (b"  }\n}\n" if self.streamed else b"  }\n")

    def begin(self, _events_length):
        out = self.open + "  connection {\n"
        for name, (ip, port) in zip(("local", "remote"), self.addresses):
            out += f"    {name}_address {{\n      socket_address {{\n"
            out += f'        address: "{ip}"\n        port_value: {port}\n      }}\n    }}\n'
        return (out + "  }\n" + ("}\n" if self.streamed else "")).encode()

    separator = b""


class Json:
    closed_body = b'"closed": {}'

    def __init__(self, ident, streamed):
        self.streamed = streamed
        top = "socket_streamed_trace_segment" if streamed else "socket_buffered_trace"
        self.open = f'{{\n "{top}": {{\n  "trace_id": "{ident}",\n'
        self.margin = b"\n   " if streamed else b"\n    "
        self.addresses = addresses(ident)
        self.separator = b"" if streamed else b",\n"
        flags = '  "read_truncated": false,\n  "write_truncated": false\n }\n}\n'
        self.end = b"" if streamed else f"\n  ],\n{flags}".encode()

    def body(self, i, payload):
        what, last = (b"write", b',\n "end_stream": false') if i % 2 else (b"read", b"")
        data = b'"as_bytes": "%s",\n  "truncated": false' % base64.b64encode(payload)
        body = b'"%s": {\n "data": {\n  %s\n }%s\n}' % (what, data, last)
        return body.replace(b"\n", self.margin)

    def seconds(self, seconds):
        return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)).encode()

    def head(self, _rest):
        before = f'{self.open}  "event": {{' if self.streamed else "   {"
        return before.encode() + self.margin + b'"timestamp": "'

    def middle(self, micros, body):
        return b'.%06dZ",' % micros + self.margin + body

    def seq(self, seq):
        close = b"\n  }\n }\n}\n" if self.streamed else b"\n   }"
        return b"," + self.margin + b'"seq_num": "%d"' % seq + close

    def begin(self, _events_length):
        out = self.open + '  "connection": {\n'
        for name, (ip, port) in zip(("local", "remote"), self.addresses):
            out += f'   "{name}_address": {{\n    "socket_address": {{\n     "protocol": "TCP",\n'
            out += f'     "address": "{ip}",\n     "port_value": {port},\n'
            out += '     "resolver_name": "",\n     "ipv4_compat": false,\n'
            out += '     "network_namespace_filepath": ""\n    }\n   }'
            out += ",\n" if name == "local" else "\n"
        return (out + ("  }\n }\n}\n" if self.streamed else '  },\n  "events": [\n')).encode()


def escape(byte):
    """A byte in the text format, escaped like protobuf's CEscape."""
    usual = {10: b"\\n", 13: b"\\r", 9: b"\\t", 34: b'\\"', 39: b"\\'", 92: b"\\\\"}
    return usual.get(byte) or (bytes([byte]) if 0x20 <= byte < 0x7F else b"\\%03o" % byte)


ESCAPES = [escape(byte) for byte in range(256)]

KINDS = {
    "buffered": (lambda ident: Binary(ident, False, False), ".pb"),
    "streamed": (lambda ident: Binary(ident, True, False), ".pb"),
    "delimited": (lambda ident: Binary(ident, True, True), ".pb_length_delimited"),
    "json": (lambda ident: Json(ident, False), ".json"),
    "text": (lambda ident: Text(ident, False), ".pb_text"),
    "streamed-json": (lambda ident: Json(ident, True), ".json"),
    "streamed-text": (lambda ident: Text(ident, True), ".pb_text"),
}


def addresses(ident):
    """The local and remote address: each id below 2^24 has its own client."""
    client = f"10.{ident >> 16 & 0xFF}.{ident >> 8 & 0xFF}.{ident & 0xFF}"
    return (("192.0.2.1", 15001), (client, 49152 + ident % 16384))


@functools.lru_cache(maxsize=64)
def middles(name, payload, size, count):
    """The events of a chunk, without head, seconds and seq_num."""
    kind = KINDS[name][0](0)
    payloads = PAYLOADS[payload].of_chunk(size, count)
    return [kind.middle(FIRST + i * STEP, kind.body(i, each)) for i, each in enumerate(payloads)]


def write(out, name, payload, size, total, ident, with_seq):
    """Writes a trace, and returns the number of its events."""
    kind = KINDS[name][0](ident)
    opening = PAYLOADS[payload].opening
    base = sum(map(len, opening))
    # A chunk has as many reads as writes, so at least two events.
    most = max(min(CHUNK // max(size, 1), CHUNK_EVENTS) & ~1, 2)
    # The number of events follows from the size of the first ones.
    sample = middles(name, payload, size, min(most, 64))
    after = sum(map(len, sample)) // len(sample) + len(kind.seq(total if with_seq else 0))
    each = len(kind.head(after)) + len(kind.seconds(START)) + after + len(kind.separator)
    count = max((total - len(kind.begin(total)) - len(kind.end)) // each, 1)

    start = START + ident % 16
    first = b"".join(opened_with(kind, opening, kind.seconds(start - 1), with_seq))
    # Only a binary trace needs its length beforehand. Its events all have the same length.
    out.write(kind.begin(len(first) + count * each))
    skip = len(kind.separator)
    if first:
        out.write(first[skip:])
        skip = 0
    done = 0
    plain = None
    while done < count:
        now = min(most, count - done)
        seconds = kind.seconds(start + done // most)
        if with_seq:
            these = middles(name, payload, size, most)[:now]
            chunk = b"".join(with_numbers(kind, these, seconds, size, base + done * size))
        else:
            if plain is None or now < most:
                plain = without_numbers(kind, middles(name, payload, size, now))
            chunk = seconds.join(plain)
        out.write(chunk[skip:] if skip else chunk)
        done, skip = done + now, 0
    if name.startswith(("streamed", "delimited")):
        middle = kind.middle(FIRST, kind.closed_body)
        seq = kind.seq(2 + base + count * size if with_seq else 0)
        seconds = kind.seconds(start + count // most + 1)
        out.write(kind.head(len(middle) + len(seq)) + seconds + middle + seq)
    out.write(kind.end)
    return count + len(opening)


def opened_with(kind, payloads, seconds, with_seq):
    """The parts of the events before the first chunk."""
    value = 1
    for i, payload in enumerate(payloads):
        rest = kind.middle(FIRST + i * STEP, kind.body(i, payload)) + kind.seq(value if with_seq else 0)
        yield kind.separator + kind.head(len(rest)) + seconds + rest
        value += len(payload)


def without_numbers(kind, these):
    """The parts of a chunk, which are joined with its seconds in between."""
    seq = kind.seq(0)
    head = kind.separator + kind.head(len(these[0]) + len(seq))
    return [head, *(middle + seq + head for middle in these[:-1]), these[-1] + seq]


def with_numbers(kind, these, seconds, size, before):
    heads = {}
    value = 1 + before
    for middle in these:
        seq = kind.seq(value)
        rest = len(middle) + len(seq)
        head = heads.get(rest)
        if head is None:
            head = heads[rest] = kind.separator + kind.head(rest) + seconds
        yield head
        yield middle
        yield seq
        value += size


def write_files(folder, options):
    """Writes a tree of traces, and returns the number of their events."""
    shares = [1.0] * options.files
    sizes = [options.event_size]
    if options.mixed:
        draw = random.Random(options.files)
        shares = [1000 ** draw.random() for _ in shares]
        sizes = [100, 1460, 16 << 10]
    whole = sum(shares)
    extension = KINDS[options.kind][1]
    events = 0
    for ident, share in enumerate(shares):
        below = os.path.join(folder, f"node{ident // 100}")
        if ident % 100 == 0:
            os.makedirs(below, exist_ok=True)
        total = int(options.total * share / whole)
        size = sizes[ident % len(sizes)]
        # There has to be room for an event.
        size = size if size * 2 <= total or len(sizes) == 1 else sizes[0]
        with open(os.path.join(below, f"path_{ident}{extension}"), "wb") as out:
            events += write(out, options.kind, options.payload, size, total, ident, options.seq)
    return events


def bytes_of(text):
    unit = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}.get(text[-1:].upper())
    return int(text[:-1]) * unit if unit else int(text)


def main():
    parser = argparse.ArgumentParser(
        description="Makes tap traces of any size, as Envoy 1.40 would write them."
    )
    parser.add_argument("--seq", action="store_true", help="a seq_num in each streamed event")
    parser.add_argument("--id", type=int, default=7, help="the id of the connection [7]")
    parser.add_argument("--files", type=int, help="the number of traces in a folder")
    parser.add_argument("--mixed", action="store_true", help="with --files: traces of different sizes")
    parser.add_argument("--payload", choices=PAYLOADS, default="noise", help="[noise]")
    parser.add_argument("kind", choices=KINDS)
    parser.add_argument("event_size", type=bytes_of)
    parser.add_argument("total", type=bytes_of)
    parser.add_argument("out")
    options = parser.parse_args()
    if options.seq and options.kind in ("buffered", "json", "text"):
        parser.error("--seq: only streamed traces have it")
    if options.files:
        print(write_files(options.out, options))
        return
    size, total = options.event_size, options.total
    trace = (options.kind, options.payload, size, total, options.id, options.seq)
    if options.out == "-":
        write(sys.stdout.buffer, *trace)
    else:
        with open(options.out, "wb") as out:
            print(write(out, *trace))


if __name__ == "__main__":
    try:
        main()
    except BrokenPipeError:
        os._exit(0)
