// Runs the module. It reads the files piece by piece, and gives the capture to the page in parts: as memory while the page
// has room for it, then as Blobs, which browsers keep on the disk where they are large. Or the page writes each part to a
// file.
"use strict";
// How many bytes are read at once at most, and where nothing can be waited for.
const PIECE = 1 << 20;
const SLICE = 8 << 20;
// After how many bytes in a row a file is taken to be read on.
const IN_A_ROW = 32 << 10;
// How many bytes of a capture make a part.
const PART = 4 << 20;
// With JSPI, the module waits for promises, and files are read by streams. Without, or where a stream cannot be read into
// given memory, reading is synchronous and nothing is read ahead.
const WAITS = typeof WebAssembly.Suspending === "function" && typeof WebAssembly.promising === "function" && canStream();
const reader = WAITS ? null : new FileReaderSync();
let instance, files, copies, output, run, read, shown;
// Memory that is used again, since new memory would take as long as the rest of the work: the one that streams are read
// into, and those of captures that the page no longer has.
let piece = null;
let spare = [];

function canStream() {
  try {
    return Boolean(new Blob().stream().getReader({ mode: "byob" }));
  } catch {
    return false;
  }
}

const memory = (at, length) => new Uint8Array(instance.exports.memory.buffer, at >>> 0, length >>> 0);

// The bytes of a file from one position to another, or a promise of them.
function bytesOf(file, from, to) {
  const slice = file.slice(from, to);
  return WAITS ? slice.arrayBuffer() : reader.readAsArrayBuffer(slice);
}

// What the module writes to one file, in parts: up to `room` bytes of memory, then Blobs. Or `send` takes each part.
class Output {
  constructor(room, send = null) {
    this.room = room;
    this.send = send;
    this.parts = [];
    this.part = null;
    this.length = 0;
  }

  // Takes bytes of the module's memory, or returns a promise to have done so.
  write(bytes) {
    let taken;
    while (bytes.length > 0) {
      this.part ??= new Uint8Array(spare.pop() ?? PART);
      const some = bytes.subarray(0, PART - this.length);
      this.part.set(some, this.length);
      this.length += some.length;
      bytes = bytes.subarray(some.length);
      if (this.length === PART) taken = this.flush();
    }
    return taken;
  }

  flush() {
    if (this.length === 0) return undefined;
    const bytes = this.part.subarray(0, this.length);
    this.length = 0;
    if (this.send) return this.send(new Blob([bytes]));
    this.room -= bytes.length;
    if (this.room < 0) return void this.parts.push(new Blob([bytes]));
    // The memory of a full part is given away. The last part may be much smaller, and is copied.
    const isFull = bytes.length === PART;
    this.parts.push(isFull ? bytes.buffer : bytes.slice().buffer);
    if (isFull) this.part = null;
    return undefined;
  }
}

// Has the page write a part to the file, and waits for it where that is possible.
let written = null;
function send(part) {
  const done = new Promise((resolve) => (written = resolve));
  postMessage({ part });
  return WAITS ? done : undefined;
}

// The file with a number: one of the page's, or a copy of one that the module has written.
function fileOf(number) {
  const copy = 0xffffffff - (number >>> 0);
  if (copy > copies.length) return files[number];
  const made = copies[copy - 1];
  if (!made.file) {
    made.output.flush();
    made.file = new Blob(made.output.parts);
  }
  return made.file;
}

// Reads of a file in a row: `begin` and `next` are positions in it.
class Run {
  constructor(number, begin) {
    this.number = number;
    this.begin = this.next = begin;
    this.stream = this.slice = null;
  }

  // Reads what is next in the file, which the browser reads ahead.
  async read(file, position, room, length) {
    this.stream ??= file.slice(position).stream().getReader({ mode: "byob" });
    let filled = 0;
    while (filled < length) {
      const taken = piece ?? new ArrayBuffer(PIECE);
      piece = null;
      // A browser that does not know `min` may fill less.
      const left = length - filled;
      const { value, done } = await this.stream.read(new Uint8Array(taken, filled, left), { min: left });
      if (done) throw new Error("the file has become shorter");
      piece = value.buffer;
      filled += value.length;
    }
    memory(room, length).set(new Uint8Array(piece, 0, length));
    return length;
  }

  // The same where nothing can be waited for: a slice at a time.
  readNow(file, position, room, length) {
    if (!(position < this.slice?.to)) {
      const to = Math.min(position + SLICE, file.size);
      this.slice = { from: position, to, buffer: bytesOf(file, position, to) };
    }
    const { from, buffer } = this.slice;
    const bytes = new Uint8Array(buffer, position - from).subarray(0, length);
    memory(room, bytes.length).set(bytes);
    this.next = position + bytes.length;
    return bytes.length;
  }

  end() {
    this.stream?.cancel().catch(() => {});
  }
}

function copied(bytes, room) {
  memory(room, bytes.byteLength).set(new Uint8Array(bytes));
  return bytes.byteLength;
}

const page = {
  read(number, position, room, length) {
    try {
      const file = fileOf(number);
      length = Math.min(length >>> 0, file.size - position, PIECE);
      if (length <= 0) return 0;
      if (run?.number !== number || run.next !== position) {
        run?.end();
        run = new Run(number, position);
      }
      const isReadOn = position - run.begin >= IN_A_ROW;
      run.next = position + length;
      if (!WAITS && isReadOn) return run.readNow(file, position, room, length);
      if (!WAITS) return copied(bytesOf(file, position, position + length), room);
      const done = isReadOn ? run.read(file, position, room, length) : bytesOf(file, position, position + length).then((bytes) => copied(bytes, room));
      return done.catch(() => -1);
    } catch {
      return -1;
    }
  },
  write(number, at, length) {
    number >>>= 0;
    if (number === 0) return output.write(memory(at, length));
    copies[number - 1] ??= { output: new Output(0) };
    return copies[number - 1].output.write(memory(at, length));
  },
  progress(bytes) {
    read += bytes;
    const now = performance.now();
    if (now - shown > 50) {
      shown = now;
      postMessage({ read });
    }
  },
};
const imports = { page: { ...page } };
if (WAITS) {
  imports.page.read = new WebAssembly.Suspending(page.read);
  imports.page.write = new WebAssembly.Suspending(page.write);
}

async function answer(request) {
  const text = new TextEncoder().encode(JSON.stringify(request));
  const at = instance.exports.reserve(text.length);
  memory(at, text.length).set(text);
  const call = WAITS ? WebAssembly.promising(instance.exports.call) : instance.exports.call;
  const place = BigInt.asUintN(64, await call());
  return JSON.parse(new TextDecoder().decode(memory(Number(place >> 32n), Number(place & 0xffffffffn))));
}

let module;
onmessage = async ({ data }) => {
  if (data.written) return written?.();
  if (data.spare) spare = data.spare.filter((part) => part.byteLength === PART);
  if (data.module) module = WebAssembly.compile(data.module);
  if (!data.request) return;
  try {
    // A new memory each time: what one trace needed does not stay.
    instance = await WebAssembly.instantiate(await module, imports);
    files = data.files;
    output = new Output(data.room, data.toFile ? send : null);
    [copies, run, read, shown] = [[], null, 0, 0];
    const { object, messages } = await answer(data.request);
    await output.flush();
    const { parts } = output;
    postMessage({ object, messages, parts }, parts.filter((part) => part instanceof ArrayBuffer));
  } catch (error) {
    postMessage({ object: null, messages: [`capture2pcap: the browser ended the work: ${error.message}`] });
  }
  run?.end();
  instance = files = copies = output = run = null;
  // Kept for one capture, so that it does not add to those of the page for long.
  spare = [];
};
