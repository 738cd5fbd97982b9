// Runs the module. It reads the files slice by slice and gathers the capture in Blobs, which browsers keep on the disk
// where they are large.
"use strict";
const PART = 8 << 20;
const reader = new FileReaderSync();
let instance, files, parts, pending, size, read, shown;

const memory = (at, length) => new Uint8Array(instance.exports.memory.buffer, at >>> 0, length >>> 0);

function gather() {
  if (pending.length > 0) parts.push(new Blob(pending));
  pending = [];
  size = 0;
}

const page = {
  read(file, position, room, length) {
    try {
      const slice = files[file].slice(position, position + (length >>> 0));
      const bytes = new Uint8Array(reader.readAsArrayBuffer(slice));
      memory(room, bytes.length).set(bytes);
      return bytes.length;
    } catch {
      return -1;
    }
  },
  write(at, length) {
    pending.push(memory(at, length).slice());
    size += length >>> 0;
    if (size >= PART) gather();
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

function answer(request) {
  const text = new TextEncoder().encode(JSON.stringify(request));
  const at = instance.exports.reserve(text.length);
  memory(at, text.length).set(text);
  const place = BigInt.asUintN(64, instance.exports.call());
  return JSON.parse(new TextDecoder().decode(memory(Number(place >> 32n), Number(place & 0xffffffffn))));
}

let module;
onmessage = async ({ data }) => {
  if (data.module) module = WebAssembly.compile(data.module);
  if (!data.request) return;
  try {
    // A new memory each time: what one trace needed does not stay.
    instance = await WebAssembly.instantiate(await module, { page });
    files = data.files;
    [parts, pending, size, read, shown] = [[], [], 0, 0, 0];
    const { object, messages } = answer(data.request);
    gather();
    postMessage({ object, messages, capture: new Blob(parts, { type: "application/vnd.tcpdump.pcap" }) });
  } catch (error) {
    postMessage({ object: null, messages: [`capture2pcap: the browser ended the work: ${error.message}`] });
  }
  instance = files = parts = pending = null;
};
