// Runs the module. It reads the files through reading.js, and passes the capture to the page in parts. The first parts are
// memory, as long as the page has room for it. Later ones are Blobs, which browsers keep on the disk if they are large. If the
// capture is written to a file, the page writes each part instead.
"use strict";
// The size of a part of a capture, in bytes.
const PART = 4 << 20;
// How often a Blob is made again if the browser does not keep it, and after how many milliseconds.
const RETRIES = 100;
const RETRY_INTERVAL = 50;
let instance, files, copies, output, reading, read, shown;
// Memory of captures that the page has removed. It is reused, because new memory would take as long as the rest of the work.
let spare = [];

const memory = (at, length) => new Uint8Array(instance.exports.memory.buffer, at >>> 0, length >>> 0);

// The bytes that the module writes to one file, in parts: up to `room` bytes of memory, then Blobs. If there is a `send`, it
// gets each part instead.
class Output {
  constructor(room, send = null) {
    this.room = room;
    this.send = send;
    this.parts = [];
    this.part = null;
    this.length = 0;
  }

  // Copies bytes from the module's memory. May return a promise of that.
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

  // Makes a Blob of a part. When all Blobs exceed about 500 MiB, Chromium reports no error for a while, but new Blobs cannot be
  // read, apparently until it has computed how much it may keep. So each Blob is verified, and made again a moment later if
  // necessary.
  keep(bytes) {
    const at = this.parts.push(new Blob([bytes])) - 1;
    // The memory is not reused before the Blob is verified.
    this.part = null;
    const done = () => void spare.push(bytes.buffer);
    if (WAITS) return this.retry(at, bytes).then(done);
    if (!isKept(this.parts[at])) this.parts[at] = bytes.slice().buffer;
    return done();
  }

  async retry(at, bytes) {
    for (let left = RETRIES; !(await isKept(this.parts[at])); left -= 1) {
      if (left === 0) throw new Error("it cannot keep the capture");
      await new Promise((resolve) => setTimeout(resolve, RETRY_INTERVAL));
      this.parts[at] = new Blob([bytes]);
    }
  }

  flush() {
    if (this.length === 0) return undefined;
    const bytes = this.part.subarray(0, this.length);
    this.length = 0;
    if (this.send) return this.send(new Blob([bytes]));
    this.room -= bytes.length;
    if (this.room < 0) return this.keep(bytes);
    // The memory of a full part is passed to the page. The last part may be much smaller, so it is copied.
    const isFull = bytes.length === PART;
    this.parts.push(isFull ? bytes.buffer : bytes.slice().buffer);
    if (isFull) this.part = null;
    return undefined;
  }
}

// Whether the browser has kept the bytes of a Blob, or a promise of that.
function isKept(blob) {
  const [slice, broken] = [blob.slice(0, 1), () => false];
  if (WAITS) return slice.arrayBuffer().then(() => true, broken);
  try {
    return Boolean(reader.readAsArrayBuffer(slice));
  } catch {
    return false;
  }
}

// Sends a part to the page, which writes it to the file. With JSPI, waits for that.
let written = null;
function send(part) {
  const done = new Promise((resolve) => (written = resolve));
  postMessage({ part });
  return WAITS ? done : undefined;
}

// The file with a number: one of the page's files, or a copy of a trace that the module has written.
function fileOf(number) {
  const copy = 0xffffffff - (number >>> 0);
  if (copy > copies.length) return files[number];
  const made = copies[copy - 1];
  if (!made.file) {
    made.output.flush();
    made.file = new Blob(made.output.parts);
    made.output = null;
  }
  return made.file;
}

const page = {
  read(number, position, room, length) {
    try {
      const copied = reading.read(fileOf(number), number, position, memory(room, length));
      return WAITS && typeof copied !== "number" ? copied.catch(() => -1) : copied;
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
    // Each conversion has a new memory, so that the memory of a large trace is freed.
    instance = await WebAssembly.instantiate(await module, imports);
    files = data.files;
    output = new Output(data.room, data.toFile ? send : null);
    reading = new Reading(files.length);
    [copies, read, shown] = [[], 0, 0];
    const { object, messages } = await answer(data.request);
    await output.flush();
    const { parts } = output;
    postMessage({ object, messages, parts }, parts.filter((part) => part instanceof ArrayBuffer));
  } catch (error) {
    postMessage({ object: null, messages: [`capture2pcap: the browser ended the work: ${error.message}`] });
  }
  reading?.end();
  instance = files = copies = output = reading = null;
  // The memory is kept only for the next capture, so that it does not add to the memory of the page for long.
  spare = [];
};
