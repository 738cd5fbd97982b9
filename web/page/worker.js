// Runs the module. It reads the files slice by slice, and gives the capture away in parts: as Blobs, which browsers keep
// on the disk where they are large, or to the page, which writes them to a file.
"use strict";
// How many bytes are read at once of a file that is read from one end to the other, and how many of these slices are on
// their way while the module works on the one before.
const SLICE = 8 << 20;
const AHEAD = 2;
// After how many bytes in a row a file is taken to be read on.
const IN_A_ROW = 256 << 10;
// How many bytes of a capture make a part.
const PART = 4 << 20;
// With JSPI, the module waits for promises; without, reading is synchronous and nothing is read ahead.
const WAITS = typeof WebAssembly.Suspending === "function" && typeof WebAssembly.promising === "function";
const reader = WAITS ? null : new FileReaderSync();
let instance, files, copies, output, ahead, read, shown;

const memory = (at, length) => new Uint8Array(instance.exports.memory.buffer, at >>> 0, length >>> 0);

// The bytes of a file from one position to another, or a promise of them.
function bytesOf(file, from, to) {
  const slice = file.slice(from, to);
  return WAITS ? slice.arrayBuffer() : reader.readAsArrayBuffer(slice);
}

// What the module writes to one file, in parts.
class Output {
  constructor(take) {
    this.take = take;
    this.room = null;
    this.length = 0;
  }

  // Takes bytes of the module's memory, or returns a promise to have done so.
  write(bytes) {
    this.room ??= new Uint8Array(PART);
    let taken;
    while (bytes.length > 0) {
      const some = bytes.subarray(0, PART - this.length);
      this.room.set(some, this.length);
      this.length += some.length;
      bytes = bytes.subarray(some.length);
      if (this.length === PART) taken = this.flush();
    }
    return taken;
  }

  flush() {
    if (this.length === 0) return undefined;
    const part = new Blob([this.room.subarray(0, this.length)]);
    this.length = 0;
    return this.take(part);
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
    made.file = new Blob(made.parts);
  }
  return made.file;
}

// Reads what is next in a file that is read on. The slices ahead are asked for before the one at hand is waited for.
async function readOn(file, position, room, length) {
  while (ahead.slices.length <= AHEAD && ahead.end < file.size) {
    const [from, to] = [ahead.end, Math.min(ahead.end + SLICE, file.size)];
    ahead.slices.push({ from, to, bytes: file.slice(from, to).arrayBuffer() });
    // The error comes with the slice.
    ahead.slices.at(-1).bytes.catch(() => {});
    ahead.end = to;
  }
  const slice = ahead.slices[0];
  const buffer = await slice.bytes;
  const bytes = new Uint8Array(buffer, position - slice.from).subarray(0, length);
  const taken = bytes.length;
  memory(room, taken).set(bytes);
  if (position + taken === slice.to) {
    ahead.slices.shift();
    // Lets its memory go now, and not some time later.
    buffer.transfer?.(0);
  }
  return taken;
}

// The same where nothing can be waited for: one slice, and nothing ahead.
function readOnNow(file, position, room, length) {
  if (!(position < ahead.slices[0]?.to)) {
    const to = Math.min(position + SLICE, file.size);
    ahead.slices = [{ from: position, to, buffer: bytesOf(file, position, to) }];
  }
  const { from, buffer } = ahead.slices[0];
  const bytes = new Uint8Array(buffer, position - from).subarray(0, length);
  memory(room, bytes.length).set(bytes);
  ahead.next = position + bytes.length;
  return bytes.length;
}

function copied(bytes, room) {
  memory(room, bytes.byteLength).set(new Uint8Array(bytes));
  return bytes.byteLength;
}

const page = {
  read(number, position, room, length) {
    try {
      const file = fileOf(number);
      length = Math.min(length >>> 0, file.size - position);
      if (length <= 0) return 0;
      if (ahead?.number !== number || ahead.next !== position) ahead = { number, next: position, end: position, begin: position, slices: [] };
      const isReadOn = position - ahead.begin >= IN_A_ROW;
      if (!isReadOn) ahead.end = position + length;
      ahead.next = position + length;
      if (!WAITS && isReadOn) return readOnNow(file, position, room, length);
      if (!WAITS) return copied(bytesOf(file, position, position + length), room);
      if (!isReadOn) return bytesOf(file, position, position + length).then((bytes) => copied(bytes, room), () => -1);
      return readOn(file, position, room, length).then((length) => ((ahead.next = position + length), length), () => -1);
    } catch {
      return -1;
    }
  },
  write(number, at, length) {
    number >>>= 0;
    if (number === 0) return output.write(memory(at, length));
    if (!copies[number - 1]) {
      const parts = [];
      copies[number - 1] = { parts, output: new Output((part) => void parts.push(part)) };
    }
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
  if (data.module) module = WebAssembly.compile(data.module);
  if (!data.request) return;
  try {
    // A new memory each time: what one trace needed does not stay.
    instance = await WebAssembly.instantiate(await module, imports);
    files = data.files;
    const parts = [];
    output = new Output(data.toFile ? send : (part) => void parts.push(part));
    [copies, ahead, read, shown] = [[], null, 0, 0];
    const { object, messages } = await answer(data.request);
    await output.flush();
    postMessage({ object, messages, capture: new Blob(parts, { type: "application/vnd.tcpdump.pcap" }) });
  } catch (error) {
    postMessage({ object: null, messages: [`capture2pcap: the browser ended the work: ${error.message}`] });
  }
  instance = files = copies = output = ahead = null;
};
