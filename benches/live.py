#!/usr/bin/env python3
"""Measures the delay between an event and its packet in a pipe.

    live.py CAPTURE2PCAP [EVENTS]

Starts `CAPTURE2PCAP - -`, writes streamed events of 100 bytes to it, a millisecond apart, and waits for
the packet of each. Prints the median and the maximum of the times in µs, and their number. The first
event, which waits for the program to start, is not counted.
"""

import os
import select
import statistics
import subprocess
import sys
import time

sys.dont_write_bytecode = True  # no __pycache__ next to the sources
import make_trace

PATIENCE = 10  # seconds


class Packets:
    """Yields the records of a pcap as they arrive."""

    def __init__(self, descriptor):
        self.descriptor, self.bytes = descriptor, b""

    def take(self, length):
        while len(self.bytes) < length:
            if not select.select([self.descriptor], [], [], PATIENCE)[0]:
                raise TimeoutError(f"no packet within {PATIENCE} s of its event")
            more = os.read(self.descriptor, 1 << 16)
            if not more:
                raise EOFError("the capture ended")
            self.bytes += more
        taken, self.bytes = self.bytes[:length], self.bytes[length:]
        return taken

    def next(self):
        length = int.from_bytes(self.take(16)[8:12], "little")
        return self.take(length)


def events(count):
    kind = make_trace.Binary(7, streamed=True, delimited=False)
    yield kind.begin(0)
    for i in range(count):
        middle = kind.middle(make_trace.FIRST + i * 100, kind.body(i, b"%0100d" % i))
        yield kind.head(len(middle)) + kind.seconds(make_trace.START) + middle


def main():
    count = int(sys.argv[2]) if len(sys.argv) > 2 else 1000
    if not 0 < count < 7000:
        sys.exit("live.py: at most 6999 events, so that all are within a second")
    command = [sys.argv[1], "-", "-"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0) as tool:
        messages = events(count + 1)
        tool.stdin.write(next(messages))
        packets = Packets(tool.stdout.fileno())
        times = []
        for i, message in enumerate(messages):
            time.sleep(0.001)
            before = time.perf_counter()
            tool.stdin.write(message)
            if i == 0:
                packets.take(24)  # the file header
            packet = packets.next()
            if i > 0:
                times.append((time.perf_counter() - before) * 1e6)
            assert packet.endswith(b"%0100d" % i), f"packet {i} is another"
        tool.stdin.close()
    print(f"{statistics.median(times):.0f} {max(times):.0f} {count}")


if __name__ == "__main__":
    main()
