// Reads files for the module, piece by piece. A file that is read from its beginning is read ahead by several streams. Other
// reads, such as those of a merge, which alternates between traces, are served from windows that are kept for a while.
"use strict";
// The maximum number of bytes of one read, by the module or from a stream.
const PIECE = 1 << 20;
// Streams are opened if at least this many bytes are left, this many have been read in a row, and this many are requested.
const STREAMED = 1 << 20;
const IN_A_ROW = 32 << 10;
const WANTED = 64 << 10;
// The file is cut into stripes, and each stream reads every third one. The browser fills the streams in parallel: while the
// module takes one stripe, the next ones are already being read. Opening a stripe takes time, so a large file is read in
// rounds of this many.
const STREAMS = 3;
const STRIPE = 4 * PIECE;
const STRIPES = 16 * STREAMS;
// The size of all windows together, of a first window, and of a window for synchronous reading, in bytes.
const WINDOWS = 64 << 20;
const WINDOW = 64 << 10;
const SLICE = 8 << 20;
// With JSPI, the module waits for promises. Without, or where a stream cannot be read into given memory, reading is
// synchronous and nothing is read ahead.
const WAITS = typeof WebAssembly.Suspending === "function" && typeof WebAssembly.promising === "function" && canStream();
const reader = WAITS ? null : new FileReaderSync();
// Memory that streams are read into. It is reused, because new memory would take as long as the rest of the work.
const pieces = [];

function canStream() {
  try {
    return Boolean(new Blob().stream().getReader({ mode: "byob" }));
  } catch {
    return false;
  }
}

// A stream of some stripes of a file. Its next piece is requested before the module needs it.
class Stream {
  constructor(stripes) {
    this.left = stripes.reduce((sum, { size }) => sum + size, 0);
    this.reader = new Blob(stripes).stream().getReader({ mode: "byob" });
    this.ask();
  }

  ask() {
    const length = Math.min(PIECE, this.left);
    this.left -= length;
    this.asked = length > 0 ? this.fill(length) : null;
    // An error is reported when the module needs the piece.
    this.asked?.catch(() => {});
  }

  async fill(length) {
    let buffer = pieces.pop() ?? new ArrayBuffer(PIECE);
    let filled = 0;
    while (filled < length) {
      // A browser that does not know `min` may fill less.
      const left = length - filled;
      const { value, done } = await this.reader.read(new Uint8Array(buffer, filled, left), { min: left });
      if (done) throw new Error("the file has become shorter");
      buffer = value.buffer;
      filled += value.length;
    }
    return new Uint8Array(buffer, 0, length);
  }
}

// Reads a file from a position on, by several streams.
class Streams {
  constructor(file, number, position) {
    Object.assign(this, { file, number, position });
    // The range of the current round of stripes.
    this.begin = this.end = position;
    this.streams = [];
    // The piece at the position, and the number of bytes taken from it.
    this.piece = null;
    this.taken = 0;
  }

  // Opens the streams of the next round.
  open() {
    const { file, end: begin } = this;
    const end = Math.min(begin + STRIPES * STRIPE, file.size);
    const stripes = Array.from({ length: Math.ceil((end - begin) / STRIPE) }, (_, i) => {
      const from = begin + i * STRIPE;
      return file.slice(from, Math.min(from + STRIPE, end));
    });
    const first = stripes.slice(0, STREAMS);
    this.streams = first.map((_, k) => new Stream(stripes.filter((_, i) => i % STREAMS === k)));
    Object.assign(this, { begin, end });
  }

  // Copies the next bytes to `to`, and returns how many. Stops at the end of a piece.
  async read(to) {
    if (this.position === this.end) this.open();
    const stream = this.streams[Math.floor((this.position - this.begin) / STRIPE) % STREAMS];
    this.piece ??= await stream.asked;
    const some = this.piece.subarray(this.taken, this.taken + to.length);
    to.set(some);
    // The stream takes the memory back below. After that, `some` is empty.
    const { length } = some;
    this.position += length;
    this.taken += length;
    if (this.taken === this.piece.length) {
      pieces.push(this.piece.buffer);
      this.piece = null;
      this.taken = 0;
      stream.ask();
    }
    return length;
  }

  cancel() {
    for (const { reader } of this.streams) reader.cancel().catch(() => {});
  }
}

// Parts of files, in the order of their last use. If reads of a file are consecutive, the next window is larger, and is read
// ahead.
class Windows {
  constructor(files) {
    this.kept = [];
    this.size = 0;
    // All files may be read in turn.
    this.most = Math.min(Math.max(Math.floor(WINDOWS / files), WINDOW / 2), PIECE);
  }

  find(number, position) {
    return this.kept.findLast((window) => window.number === number && window.from <= position && position < window.to);
  }

  // Starts to read a window of at least `least` bytes. `last` is the window before it, if there is one.
  open(file, number, from, last, least = 0) {
    const size = Math.max(Math.min(last ? 2 * last.size : WINDOW, this.most), least);
    const to = Math.min(from + size, file.size);
    const window = { number, from, to, size, bytes: null, done: null };
    const [slice, take] = [file.slice(from, to), (buffer) => (window.bytes = new Uint8Array(buffer))];
    if (!WAITS) take(reader.readAsArrayBuffer(slice));
    this.kept.push(window);
    this.size += to - from;
    while (this.size > WINDOWS && this.kept.length > 1) this.drop(this.kept[0]);
    if (WAITS) {
      window.done = slice.arrayBuffer().then(take, (error) => {
        this.drop(window);
        throw error;
      });
      window.done.catch(() => {});
    }
    return window;
  }

  move(window, to) {
    this.kept.splice(this.kept.indexOf(window), 1);
    this.kept.splice(to, 0, window);
  }

  drop(window) {
    const at = this.kept.indexOf(window);
    if (at < 0) return;
    this.kept.splice(at, 1);
    this.size -= window.to - window.from;
  }

  // Copies bytes of a file to `to`. Returns how many, or a promise of that; stops at the end of a window.
  read(file, number, position, to, least, isAhead) {
    let window = this.find(number, position);
    if (!window) {
      const last = this.find(number, position - 1);
      // It has been read to its end, so it is the first one to be dropped.
      if (last) this.move(last, 0);
      window = this.open(file, number, position, last, least);
    }
    this.move(window, this.kept.length);
    const at = position - window.from;
    if (WAITS && isAhead && at + to.length > window.size / 2) this.readAhead(file, window);
    const copy = () => {
      const bytes = window.bytes.subarray(at, at + to.length);
      to.set(bytes);
      return bytes.length;
    };
    return window.bytes ? copy() : window.done.then(copy);
  }

  // Starts to read the window after this one, unless others would have to be dropped for it.
  readAhead(file, window) {
    const { number, from, to, size } = window;
    if (to >= file.size || this.find(number, to)) return;
    // The one before has been read to its end.
    const before = this.find(number, from - 1);
    if (before && before !== window) this.drop(before);
    if (this.size + Math.min(2 * size, this.most) <= WINDOWS) this.open(file, number, to, window);
  }
}

// The reads of one request.
class Reading {
  constructor(files) {
    this.windows = new Windows(files);
    this.streams = null;
    // The last read of the file that is being read from its beginning.
    this.row = { number: -1, from: 0, to: 0 };
  }

  // Copies bytes of a file to `to`. Returns how many, or a promise of that; 0 only at the end.
  read(file, number, position, to) {
    to = to.subarray(0, Math.max(Math.min(PIECE, file.size - position), 0));
    if (to.length === 0) return 0;
    if (this.streams?.number === number && this.streams.position === position) return this.streams.read(to);
    const isInRow = this.follow(number, position, to.length);
    // A merge also reads consecutive bytes, but requests little at once.
    const isReadOn = isInRow && position >= IN_A_ROW && to.length >= WANTED;
    const isLarge = file.size - position >= STREAMED;
    if (isReadOn && isLarge && WAITS) {
      this.end();
      this.streams = new Streams(file, number, position);
      return this.streams.read(to);
    }
    // Streams will read a large file ahead.
    return this.windows.read(file, number, position, to, isReadOn ? SLICE : to.length, !(isInRow && isLarge));
  }

  // Whether a file has been read from its beginning up to this read. The last read may have returned less than it requested.
  follow(number, position, length) {
    const { row } = this;
    const isNext = row.number === number && position > row.from && position <= row.to;
    if (position !== 0 && !isNext) return false;
    this.row = { number, from: position, to: position + length };
    return true;
  }

  end() {
    this.streams?.cancel();
    this.streams = null;
  }
}
