"""Payloads for make_trace.py: the bytes of a connection, an event at a time.

A class has the payloads of a chunk of events, which can be repeated, and those of the events before
the first chunk, which occur once.
"""

import functools
import random

CHUNK = 4 << 20  # about this many bytes of payload are made, and then repeated
LARGE = 1 << 10  # an HTTP/1 request of this size has a body
MAX_FRAME = 16_384  # of HTTP/2, without a setting


@functools.lru_cache(maxsize=1)
def noise(length):
    return random.Random(length).randbytes(length)


class Noise:
    opening = ()

    @staticmethod
    def of_chunk(size, count):
        data = noise(max(2 * size, CHUNK))
        return [data[i * size : (i + 1) * size] for i in range(count)]


class Lines:
    """Lines of a protocol that is not HTTP."""

    opening = ()

    @staticmethod
    def of_chunk(size, count):
        words = b"set get user item:4711 count=3 the session:99f2 ttl: 3600 ok value\r\n".split(b" ")
        draw = random.Random(size)
        text = b" ".join(draw.choices(words, k=max(2 * size, CHUNK) // 3))
        # In upper case, a first word could be a method.
        return [b"+" + text[i * size : (i + 1) * size - 1] for i in range(count)]


class Heads:
    """HTTP/1: a message with a cookie in each event. Small requests consist of a head."""

    opening = ()

    @staticmethod
    def of_chunk(size, count):
        return [Heads.message(i, size) for i in range(count)]

    @staticmethod
    def message(i, size):
        if i % 2:
            return with_body(b"HTTP/1.1 200 OK\r\nSet-Cookie: sid=8f14e45f%04x\r\n" % i, size)
        request = b" /item HTTP/1.1\r\nHost: a.test\r\nCookie: sid=8f14e45f%04x\r\n" % i
        if size >= LARGE:
            return with_body(b"POST" + request, size)
        request = b"GET" + request + b"User-Agent: "
        return request + b"x" * (size - len(request) - 4) + b"\r\n\r\n"


def with_body(head, size):
    """A message of this size, with this beginning."""
    for digits in range(1, 12):
        length = size - len(head) - len(b"Content-Length: \r\n\r\n") - digits
        if len(str(length)) == digits:
            return head + b"Content-Length: %d\r\n\r\n" % length + b"." * length
    raise ValueError("the events are too small for such messages")


class Bodies:
    """HTTP/1: a request and a response that take a whole chunk."""

    opening = ()

    @staticmethod
    def of_chunk(size, count):
        request = b"POST / HTTP/1.1\r\nCookie: sid=8f14e45f\r\n"
        heads = [
            with_body(first, size * ((count + other) // 2))[:size]
            for first, other in ((request, 1), (b"HTTP/1.1 200 OK\r\nSet-Cookie: sid=1\r\n", 0))
        ]
        # No event inside a body begins like a message.
        return heads[:count] + [b"." + data[1:] for data in Noise.of_chunk(size, count)[2:]]


# Symbols with the shortest codes of HPACK, of five and of six bits (RFC 7541, appendix B).
FIVE, SIX = "012aceiost", " %-./3456789=A_bdfghlmnpru"


def huffman(text):
    """A string literal of HPACK in Huffman's code."""
    codes = {symbol: f"{i:05b}" for i, symbol in enumerate(FIVE)}
    codes.update((symbol, f"{i + 2 * len(FIVE):06b}") for i, symbol in enumerate(SIX))
    bits = "".join(map(codes.__getitem__, text))
    bits += "1" * (-len(bits) % 8)
    code = int(bits, 2).to_bytes(len(bits) // 8, "big")
    return bytes([0x80 | len(code)]) + code


def frame(kind, flags, stream, payload):
    header = len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big")
    return header + payload


class Calls:
    """gRPC: a request or a response in each event, with a token in each request."""

    # They go into the dynamic table, the latest of which has the index 62. No call changes the table.
    opening = (
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
        + frame(4, 0, 0, b"")
        + frame(
            *(1, 5, 1),
            b"\x83\x86"
            + b"\x44" + huffman("/echo/send")
            + b"\x41" + huffman("a.test")
            + b"\x5f" + huffman("application/grpc")
            + b"\x40" + huffman("te") + huffman("trailers"),
        ),
        frame(4, 0, 0, b"")
        + frame(
            *(1, 5, 1),
            b"\x88"
            + b"\x5f" + huffman("application/grpc")
            + b"\x40" + huffman("grpc-status") + huffman("0"),
        ),
    )

    @staticmethod
    def of_chunk(size, count):
        return [Calls.message(i, size) for i in range(count)]

    @staticmethod
    def message(i, size):
        stream = 3 + 2 * (i // 2)
        if i % 2:
            head, trailers = frame(1, 4, stream, b"\x88\xbf"), frame(1, 5, stream, b"\xbe")
        else:
            # A literal that is never indexed.
            token = b"\x1f\x08" + huffman(f"bearer 8f14e45fceea{i:04x}")
            head, trailers = frame(1, 4, stream, b"\x83\x86\xbe\xbf\xc0\xc1" + token), b""
        data, left = b"", size - len(head) - len(trailers)
        while left >= 9:
            length = min(left - 9, MAX_FRAME)
            # A frame's header has to fit after this one.
            if 0 < left - 9 - length < 9:
                length -= 9
            data += frame(0, 0, stream, b"." * length)
            left -= 9 + length
        return head + data + trailers


PAYLOADS = {"noise": Noise, "heads": Heads, "bodies": Bodies, "calls": Calls, "lines": Lines}
