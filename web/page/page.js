// The page: the dropped files, the choices and the results. It does not read traces: worker.js does.
"use strict";
const $ = (id) => document.getElementById(id);
const TRACE = /\.(pb|pb_length_delimited|pb_text|json)(\.(gz|zst))?$/;
const COMPRESSED = /\.(gz|zst)$/;
// The maximum number of bytes of captures that the page keeps in memory. The rest is in Blobs, which the browser keeps.
const HELD = 96 << 20;
let traces = [];
let worker = null;
let running = null;
let generation = 0;
// How many more bytes the page may keep.
let room = HELD;

// A dropped file may have any name: control and invisible characters are shown as escapes.
const plain = (text) =>
  String(text).replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu, (c) => `\\u{${c.codePointAt(0).toString(16)}}`);

function element(name, properties = {}, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
}

const say = (text) => ($("status").textContent = text);
const grouped = (n) => n.toLocaleString("en-US");
const counted = (n, what) => `${grouped(n)} ${what}${n === 1 ? "" : "s"}`;

function human(bytes) {
  if (bytes < 1024) return `${bytes} B`;
  let unit = -1;
  do {
    bytes /= 1024;
    unit += 1;
  } while (bytes >= 1024 && unit < 3);
  return `${bytes.toFixed(1)} ${["KiB", "MiB", "GiB", "TiB"][unit]}`;
}

// The worker, made from its text in the page: a page that was opened from the disk may not load other files.
function start() {
  const url = URL.createObjectURL(new Blob([$("worker").textContent], { type: "text/javascript" }));
  worker = new Worker(url);
  URL.revokeObjectURL(url);
  const text = atob($("module").textContent);
  const bytes = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i += 1) bytes[i] = text.charCodeAt(i);
  worker.postMessage({ module: bytes });
}

// Sends a request to the worker, after the earlier ones are answered. The capture is written to `file`, or is part of the
// answer.
let queue = Promise.resolve();
function ask(request, files, onRead = () => {}, file = null) {
  const asked = generation;
  const answered = queue.then(() => {
    if (asked !== generation) return null;
    if (!worker) start();
    return new Promise((resolve) => {
      running = resolve;
      const failed = (why) => resolve({ object: null, messages: [`capture2pcap: ${why}`] });
      // One part after the other. With JSPI, the worker waits until each is written.
      let written = Promise.resolve();
      const write = async (part) => {
        await file.write(part);
        worker?.postMessage({ written: true });
      };
      worker.onmessage = ({ data }) => {
        if ("read" in data) onRead(data.read);
        else if ("part" in data) written = written.then(() => write(data.part));
        else written.then(() => resolve(data), (error) => failed(`capture: cannot write: ${error.message}`));
        written.catch((error) => {
          if (asked !== generation) return;
          worker?.terminate();
          worker = null;
          failed(`capture: cannot write: ${error.message}`);
        });
      };
      worker.onerror = (event) => failed(event.message);
      worker.postMessage({ request, files, room, toFile: file !== null });
    });
  });
  queue = answered;
  return answered;
}

// Ends the work at once: terminates the worker, and drops the requests that have not begun.
function stop() {
  generation += 1;
  worker?.terminate();
  worker = null;
  running?.(null);
}

function choices() {
  const form = new FormData($("choices"));
  return Object.fromEntries(form.entries());
}

// The names of the captures: short ones, or longer ones if they would collide.
function names(format) {
  const extension = `.${format}`;
  const base = (path) => path.split("/").pop();
  const steps = [
    (path) => base(path).replace(COMPRESSED, "").replace(/(?<=.)\.[^.]*$/, "") + extension,
    (path) => base(path) + extension,
    (path) => path.replaceAll("/", "_") + extension,
    (path, i) => `${i + 1}_${path.replaceAll("/", "_")}${extension}`,
  ];
  const level = traces.map(() => 0);
  for (;;) {
    const made = traces.map((trace, i) => steps[level[i]](trace.name, i));
    const count = new Map();
    for (const name of made) count.set(name.toLowerCase(), (count.get(name.toLowerCase()) ?? 0) + 1);
    const colliding = [...made.keys()].filter((i) => count.get(made[i].toLowerCase()) > 1);
    const movable = colliding.filter((i) => level[i] < steps.length - 1);
    if (movable.length === 0) return made;
    for (const i of movable) level[i] += 1;
  }
}

function messageList(messages) {
  const list = element("ul", { className: "messages" });
  for (const message of messages) list.append(element("li", { className: "bad", textContent: plain(message) }));
  return list;
}

const COLUMNS = [
  ["id", (c) => c.id],
  ["local", (c) => c.local],
  ["remote", (c) => c.remote],
  ["side", (c) => c.side],
  ["protocol", (c) => c.protocol ?? "other"],
  ["events", (c) => grouped(c.events), true],
  ["received", (c) => human(c.bytes_received), true],
  ["sent", (c) => human(c.bytes_sent), true],
  ["missing", (c) => (c.truncated_bytes + c.lost_bytes ? human(c.truncated_bytes + c.lost_bytes) : null), true],
  ["first", (c) => c.first?.replace(/(\.\d{6})\d*/, "$1")],
  ["last", (c) => c.last?.replace(/(\.\d{6})\d*/, "$1")],
];
const MOST_ROWS = 1000;

function table(object) {
  const rows = object.connections.slice(0, MOST_ROWS);
  const columns = COLUMNS.filter(([, cell]) => rows.some((row) => (cell(row) ?? null) !== null));
  const head = element("tr");
  for (const [name, , isNumber] of columns)
    head.append(element("th", { scope: "col", textContent: name, className: isNumber ? "number" : "" }));
  const body = element("tbody");
  for (const row of rows) {
    const line = element("tr");
    for (const [, cell, isNumber] of columns)
      line.append(element("td", { textContent: plain(cell(row) ?? "–"), className: isNumber ? "number" : "" }));
    body.append(line);
  }
  const more = object.connections.length - rows.length;
  const caption = counted(object.connections.length, "connection") + (more > 0 ? `, the first ${grouped(MOST_ROWS)}` : "");
  const scroll = element("div", { className: "scroll", tabIndex: 0, role: "region", ariaLabel: "Connections" });
  scroll.append(element("table", {}, element("caption", { textContent: caption }), element("thead", {}, head), body));
  return scroll;
}

function described(trace, { object, messages }) {
  trace.article.querySelector(".waiting")?.remove();
  trace.object = object;
  if (object && object.error === null) {
    const release = object.envoy ? `, Envoy ${object.envoy}` : "";
    trace.article.append(element("p", { className: "note", textContent: `${object.encoding ?? "empty"}${release}, ${human(trace.file.size)}` }));
    if (object.connections.length > 0) trace.article.append(table(object));
    const bad = object.warnings.map((warning) => warning.message);
    if (object.damage) bad.push(object.damage.message);
    if (object.unread) bad.push(`cannot read the rest: ${object.unread}`);
    if (bad.length > 0) trace.article.append(messageList(bad));
  }
  if (messages.length > 0) trace.article.append(messageList(messages));
}

async function add(found, unread = []) {
  found.sort((a, b) => (a.name < b.name ? -1 : a.name > b.name ? 1 : 0));
  const rest = unread.length > 0 ? ` The browser does not let the page read all of ${unread.join(", ")}: choose it with a button.` : "";
  if (found.length === 0) return say(rest.trim() || "No traces found: no file ends in .pb, .pb_length_delimited, .pb_text or .json.");
  for (const trace of found) {
    trace.article = element("article", {}, element("h3", { textContent: plain(trace.name) }));
    trace.article.append(element("p", { className: "note waiting", textContent: "reading…" }));
    $("traces").append(trace.article);
  }
  traces.push(...found);
  $("choices").hidden = $("clear").hidden = false;
  offerFile();
  const asked = generation;
  // Computed once, because each name depends on all others.
  const captures = names("pcap").slice(-found.length);
  begin();
  for (const [i, trace] of found.entries()) {
    say(`Reading ${i + 1} of ${found.length}…`);
    const capture = captures[i];
    const answer = await ask({ task: "inspect", files: [trace.name], capture }, [trace.file], progress(trace.file.size));
    if (asked !== generation) return;
    described(trace, answer);
  }
  end();
  say(`${counted(traces.length, "trace")} read.${rest}`);
}

function progress(total) {
  const bar = $("progress");
  bar.max = Math.max(total, 1);
  bar.value = 0;
  return (read) => (bar.value = read);
}

function begin() {
  $("convert").disabled = true;
  $("cancel").hidden = $("progress").hidden = false;
}

function end() {
  $("convert").disabled = false;
  $("cancel").hidden = $("progress").hidden = true;
}

function command(text) {
  const copy = element("button", { type: "button", textContent: "Copy", ariaLabel: `Copy: ${text}` });
  const code = element("code", { textContent: text });
  copy.onclick = async () => {
    try {
      await navigator.clipboard.writeText(text);
    } catch {
      // Some browsers do not allow that for a page from the disk: the selection is copied instead.
      getSelection().selectAllChildren(code);
      document.execCommand("copy");
    }
    copy.textContent = "Copied";
    say("Copied.");
  };
  return element("div", { className: "command" }, code, copy);
}

// A capture in parts, each of them memory or a Blob. It becomes a single Blob only when the user wants it, because the browser
// copies the bytes of a Blob to another process, which may take longer than the conversion.
class Capture {
  constructor(parts) {
    this.parts = parts;
    this.held = this.size = 0;
    for (const part of parts) {
      this.held += part.byteLength ?? 0;
      this.size += part.byteLength ?? part.size;
    }
    room -= this.held;
  }

  get blob() {
    if (!this.made) {
      this.made = new Blob(this.parts, { type: "application/vnd.tcpdump.pcap" });
      room += this.held;
      [this.parts, this.held] = [[], 0];
    }
    return this.made;
  }

  get url() {
    return (this.address ??= URL.createObjectURL(this.blob));
  }
}

// Removes the results. Their links own the captures, whose memory is given to the worker for reuse.
function removeResults() {
  const captures = [...document.querySelectorAll("#results a")].map((link) => link.capture);
  for (const { address } of captures) if (address) URL.revokeObjectURL(address);
  const spare = captures.flatMap(({ parts }) => parts).filter((part) => part instanceof ArrayBuffer);
  worker?.postMessage({ spare }, spare);
  room = HELD;
  $("results").replaceChildren();
}

function result(name, { object, messages, parts }, file = null) {
  const article = element("article", {}, element("h3", { textContent: plain(name) }));
  const converted = object && object.error === null && object.capture !== null;
  if (converted) {
    const counts = `${counted(object.packets, "packet")} of ${counted(object.connections.length, "connection")}`;
    if (file) article.append(element("p", { textContent: `Written to the file: ${counts}` }));
    else article.append(download(name, new Capture(parts), counts));
    article.append(command(object.tshark), command(object.tshark.replace("tshark", "wireshark")));
  }
  if (messages.length > 0) article.append(messageList(messages));
  article.object = object;
  $("results").append(article);
  return converted;
}

function download(name, capture, counts) {
  const link = element("a", { className: "button", href: "#", download: name, textContent: "Download", ariaLabel: `Download ${plain(name)}` });
  link.capture = capture;
  // The address is set before the browser reads it: at a click, also by a key or a screen reader; before the context menu,
  // which has "Save link as"; before a drag, or a click with another button.
  for (const wanted of ["click", "contextmenu", "pointerdown"]) link.addEventListener(wanted, () => (link.href = capture.url));
  return element("p", {}, link, ` ${counts}, ${human(capture.size)}`);
}

// Asks the user for the file to which the capture is written.
async function fileFor(name, format) {
  const handle = await showSaveFilePicker({
    suggestedName: name,
    types: [{ description: `${format} capture`, accept: { "application/vnd.tcpdump.pcap": [`.${format}`] } }],
  });
  // The browser writes to a temporary file, and renames it when it is closed.
  return { name: handle.name, stream: await handle.createWritable() };
}

// Closes the file of a capture, or discards it if the conversion failed.
async function endFile(file, answer) {
  const isWhole = answer?.object && answer.object.error === null && answer.object.capture !== null;
  try {
    await (isWhole ? file.stream.close() : file.stream.abort());
  } catch (error) {
    if (isWhole) return { object: null, messages: [`capture2pcap: capture: cannot write: ${error.message}`] };
  }
  return answer;
}

async function convert() {
  const { merge, "to-file": toFile, ...chosen } = choices();
  // Each job has its files, the name of its capture, and the number of bytes to read. A merge reads each trace twice.
  const size = (some) => some.reduce((sum, trace) => sum + trace.file.size, 0);
  const captures = merge ? [`merged.${chosen.format}`] : names(chosen.format);
  const jobs = captures.map((capture, i) => ({ capture, from: merge ? traces : [traces[i]] }));
  let file = null;
  if (toFile && jobs.length === 1) {
    try {
      file = await fileFor(jobs[0].capture, chosen.format);
    } catch (error) {
      return say(error.name === "AbortError" ? "Canceled." : `Cannot write to that file: ${error.message}`);
    }
    jobs[0].capture = file.name;
  }
  const asked = generation;
  removeResults();
  begin();
  let converted = 0;
  for (const [i, { capture, from }] of jobs.entries()) {
    say(merge ? "Merging…" : `Converting ${i + 1} of ${jobs.length}…`);
    const request = { task: merge ? "merge" : "convert", files: from.map((trace) => trace.name), capture, ...chosen };
    const total = merge ? 2 * size(from) : size(from);
    let answer = await ask(request, from.map((trace) => trace.file), progress(total), file?.stream);
    if (file) answer = await endFile(file, answer);
    if (asked !== generation) return;
    converted += result(capture, answer, file);
  }
  end();
  say(`${grouped(converted)} of ${counted(jobs.length, "capture")} ready.`);
}

// A single capture can be written straight to a file if the browser supports that.
function offerFile() {
  const isOne = traces.length === 1 || choices().merge;
  $("to-file").hidden = !isOne || typeof showSaveFilePicker !== "function";
}
$("choices").onchange = offerFile;
$("choices").onsubmit = (event) => {
  event.preventDefault();
  convert();
};
$("cancel").onclick = () => {
  stop();
  end();
  for (const waiting of document.querySelectorAll(".waiting")) waiting.textContent = "not read: canceled";
  say("Canceled.");
};
$("clear").onclick = () => {
  stop();
  end();
  removeResults();
  traces = [];
  $("traces").replaceChildren();
  $("choices").hidden = $("clear").hidden = true;
  say("");
  $("choose").focus();
};
// After the page is shown, the module is compiled, so that the first trace does not wait for it.
addEventListener("load", () => setTimeout(() => worker ?? start()));
