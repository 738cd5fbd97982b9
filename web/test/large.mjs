// Large traces: memory, captures written straight to a file, and time.
import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { once } from "node:events";
import fs from "node:fs";
import path from "node:path";
import { command, scratch, page, begin, open, add, convert, results, run, walk, fixtures, makeTrace, make_trace, test, packed } from "./harness.mjs";

// The processes that this one has started, with their commands and the peak memory of each, in bytes.
// A product, because shifts have 32 bits.
function processes() {
  const parents = new Map();
  for (const pid of fs.readdirSync("/proc").filter((name) => /^\d+$/.test(name))) {
    try {
      const status = fs.readFileSync(`/proc/${pid}/status`, "utf8");
      const number = (name) => Number(status.match(new RegExp(`^${name}:\\s+(\\d+)`, "m"))?.[1] ?? 0);
      const kind = fs.readFileSync(`/proc/${pid}/cmdline`, "utf8").match(/--type=([a-z-]+)/)?.[1] ?? "browser";
      parents.set(Number(pid), { parent: number("PPid"), kind, peak: number("VmHWM") * 1024 });
    } catch {
      // The process has ended.
    }
  }
  const isOurs = (pid) => pid === process.pid || (parents.has(pid) && isOurs(parents.get(pid).parent));
  return [...parents].filter(([pid]) => pid !== process.pid && isOurs(pid)).map(([, found]) => found);
}

// How many bytes of the captures the page keeps in memory, and how many more it would keep.
const held = () => page.evaluate(() => {
  const parts = [...document.querySelectorAll("#results a")].flatMap((link) => link.capture.parts);
  return [parts.reduce((sum, part) => sum + (part.byteLength ?? 0), 0), room];
});

test("1 GiB is converted without being kept in memory", async () => {
  const unit = makeTrace("streamed", 16384, 64 << 20);
  const times = 16;
  await begin();
  await open();
  // The file repeats one part, so that it needs no space on the disk.
  await page.setInputFiles("#files", unit);
  await page.waitForFunction(() => !document.getElementById("convert").disabled && !document.querySelector(".waiting"), null, { timeout: 300_000 });
  const begun = performance.now();
  const longest = await page.evaluate(async (times) => {
    const { file } = traces[0];
    document.getElementById("clear").click();
    add([{ name: "large.pb", file: new File(Array(times).fill(file), "large.pb") }]);
    // The longest time for which the page did not respond.
    let [longest, last] = [0, performance.now()];
    const watch = setInterval(() => {
      const now = performance.now();
      [longest, last] = [Math.max(longest, now - last), now];
    }, 10);
    const idle = () => new Promise((resolve) => {
      const look = setInterval(() => {
        if (document.getElementById("convert").disabled) return;
        clearInterval(look);
        resolve();
      }, 50);
    });
    await idle();
    await convert();
    clearInterval(watch);
    return longest;
  }, times);
  const seconds = ((performance.now() - begun) / 1000).toFixed(1);
  assert.deepEqual(await held(), [96 << 20, 0]);
  const peak = Math.max(...processes().filter(({ kind }) => kind === "renderer").map(({ peak }) => peak));
  const { digests, size } = await page.evaluate(async () => {
    const capture = document.querySelector("#results a").capture.blob;
    const digests = [];
    for (let at = 0; at < capture.size; at += 64 << 20) {
      const digest = await crypto.subtle.digest("SHA-256", await capture.slice(at, at + (64 << 20)).arrayBuffer());
      digests.push([...new Uint8Array(digest)].map((byte) => byte.toString(16).padStart(2, "0")).join(""));
    }
    return { digests, size: capture.size };
  });
  // The command's capture, from a pipe.
  const child = spawn(command, ["-q", "-", "-"], { stdio: ["pipe", "pipe", "ignore"] });
  const feed = (async () => {
    for (let i = 0; i < times; i += 1) for await (const chunk of fs.createReadStream(unit, { highWaterMark: 1 << 20 })) if (!child.stdin.write(chunk)) await once(child.stdin, "drain");
    child.stdin.end();
  })();
  const expected = [];
  let [hash, left, total] = [createHash("sha256"), 64 << 20, 0];
  for await (let chunk of child.stdout) {
    total += chunk.length;
    while (chunk.length >= left) {
      expected.push(hash.update(chunk.subarray(0, left)).digest("hex"));
      chunk = chunk.subarray(left);
      [hash, left] = [createHash("sha256"), 64 << 20];
    }
    hash.update(chunk);
    left -= chunk.length;
  }
  if (left < 64 << 20) expected.push(hash.digest("hex"));
  await feed;
  assert.equal(size, total);
  assert.deepEqual(digests, expected);
  const mib = Math.round(peak / (1 << 20));
  assert.ok(mib < 400, `the page's process had ${mib} MiB`);
  assert.ok(longest < 1000, `the page did not answer for ${longest} ms`);
  return `${Math.round(total / (1 << 20))} MiB of capture in ${seconds} s, at most ${mib} MiB in the page's process, ${longest.toFixed(0)} ms without an answer`;
});

test("several captures share the limit of memory, and are the same when they are converted again", async () => {
  const trace = makeTrace("streamed", 16384, 64 << 20);
  await open();
  await add([trace]);
  await page.evaluate(() => {
    const { file } = traces[0];
    return add(["b.pb", "c.pb"].map((name) => ({ name, file })));
  });
  const digests = () => page.evaluate(() => Promise.all([...document.querySelectorAll("#results a")].map(async ({ capture }) => {
    const digest = await crypto.subtle.digest("SHA-256", await new Blob(capture.parts).arrayBuffer());
    return [...new Uint8Array(digest)].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  })));
  // The second conversion reuses the memory of the first. The captures of the formats differ in length.
  for (const format of ["pcap", "pcapng", "pcap"]) {
    await page.check(`input[name=format][value=${format}]`);
    await convert();
    const [bytes, room] = await held();
    assert.ok(bytes > 88 << 20 && bytes + room === 96 << 20, `${bytes} bytes held, room for ${room}`);
    const capture = path.join(scratch, `again.${format}`);
    fs.rmSync(capture, { force: true });
    run(scratch, "-q", trace, capture);
    // A pcapng contains the name of the trace.
    const [first, ...more] = await digests();
    assert.equal(first, createHash("sha256").update(fs.readFileSync(capture)).digest("hex"), format);
    if (format === "pcap") assert.deepEqual(more, [first, first]);
  }
  await page.click("#clear");
  assert.deepEqual(await held(), [0, 96 << 20]);
});

for (const [how, change, isRead] of [
  ["gives little at a time", "const { read } = ReadableStreamBYOBReader.prototype; ReadableStreamBYOBReader.prototype.read = function (view) { return read.call(this, view.subarray(0, 70_001)); };", true],
  ["cannot be read into given memory", "delete Blob.prototype.stream;", true],
  ["ends early", "const { stream } = Blob.prototype; Blob.prototype.stream = function () { return stream.call(this.slice(0, 2_000_000)); };", false],
  ["fails", "const { stream } = Blob.prototype; Blob.prototype.stream = function () { return this.size ? new ReadableStream({ type: 'bytes', pull() { throw new Error('gone'); } }) : stream.call(this); };", false],
]) {
  test(`a stream of a file that ${how}`, async () => {
    // The small file is the second one, and has to be read as well.
    const [trace, small] = [makeTrace("streamed", 16384, 5 << 20), path.join(scratch, "then_small.pb")];
    fs.copyFileSync(fixtures.find((file) => file.endsWith(".pb")), small);
    await open(true, change);
    await add([trace, small]);
    await convert();
    for (const [i, file] of [trace, small].entries()) {
      const made = (await results())[i];
      const capture = path.join(scratch, "stream.pcap");
      fs.rmSync(capture, { force: true });
      const { stderr } = run(scratch, file, capture);
      if (isRead || file === small) {
        assert.deepEqual(made.messages, stderr, file);
        assert.ok(Buffer.from(made.capture, "base64").equals(fs.readFileSync(capture)), file);
      } else assert.match(made.messages.join("\n"), /the browser can no longer read the file/);
    }
  });
}

for (const waits of [true, false]) {
  test(`a Blob that the browser does not keep is made again${waits ? "" : ", or kept in memory without JSPI"}`, async () => {
    // The page has no room, and the first Blobs cannot be read, as in Chromium before it has computed how much it may keep.
    const change = `addEventListener("message", ({ data }) => { if (data.room) data.room = 0; });
      let broken = 3;
      const Kept = Blob;
      self.Blob = class extends Kept {
        constructor(parts = [], options = {}) {
          const isBroken = parts[0]?.byteLength > 1_000_000 && broken > 0;
          super(isBroken ? ["broken"] : parts, options);
          if (!isBroken) return;
          broken -= 1;
          this.slice = () => ({ arrayBuffer: () => Promise.reject(new Error("broken")) });
        }
      };`;
    const trace = makeTrace("streamed", 16384, 24 << 20);
    await open(waits, change);
    await add([trace]);
    await convert();
    const digest = await page.evaluate(async () => {
      const digest = await crypto.subtle.digest("SHA-256", await document.querySelector("#results a").capture.blob.arrayBuffer());
      return [...new Uint8Array(digest)].map((byte) => byte.toString(16).padStart(2, "0")).join("");
    });
    const capture = path.join(scratch, "kept.pcap");
    run(scratch, "-q", trace, capture);
    assert.equal(digest, createHash("sha256").update(fs.readFileSync(capture)).digest("hex"));
    fs.rmSync(capture);
  });
}

for (const waits of [true, false]) {
  test(`a merge reads large pieces of its traces${waits ? "" : ", without JSPI"}`, async () => {
    const counting = `const { slice } = Blob.prototype, { postMessage } = self;
      let reads = 0;
      Blob.prototype.slice = function (...given) { reads += 1; return slice.apply(this, given); };
      self.postMessage = (data, ...more) => postMessage.call(self, { ...data, reads }, ...more);`;
    const counts = [];
    // The memory is limited: with many traces, the pieces are smaller.
    for (const [number, size] of [[3, 12 << 20], [300, 200 << 10]]) {
      const folder = path.join(scratch, `interleaved_${number}`);
      execFileSync("python3", [make_trace, "--files", String(number), "streamed", "16384", String(number * size), folder]);
      // Traces of several nodes have the same names.
      const files = walk(folder).toSorted().map((file, i) => {
        const named = path.join(folder, `${i + 1000}.pb`);
        fs.renameSync(file, named);
        return named;
      });
      await open(waits, counting);
      await add(files);
      await page.check("input[name=merge][value='1']");
      await page.evaluate(() => worker.addEventListener("message", ({ data }) => (window.reads = data.reads)));
      await convert();
      const before = await page.evaluate(() => window.reads);
      await convert();
      const reads = (await page.evaluate(() => window.reads)) - before;
      const [made] = await results();
      const capture = path.join(scratch, "interleaved.pcap");
      fs.rmSync(capture, { force: true });
      run(scratch, "-q", "--merge", ...files, capture);
      assert.ok(Buffer.from(made.capture, "base64").equals(fs.readFileSync(capture)), `${number} traces`);
      counts.push(reads);
      // Each trace is read twice. An event has 16 KiB.
      assert.ok(reads < (2 * number * size) / (48 << 10), `${reads} reads for ${number} traces of ${size} bytes`);
      fs.rmSync(folder, { recursive: true });
    }
    return `${counts.join(" and ")} reads`;
  });
}

test("a compressed trace of 256 MiB is not kept in memory either", async () => {
  // One event of one connection, repeated: a protobuf field inside another.
  const field = (number, bytes) => Buffer.concat([Buffer.from([number << 3 | 2, bytes.length & 127 | 128, bytes.length >> 7]), bytes]);
  const number = (number, value) => Buffer.from([number << 3, value]);
  const read = field(2, field(1, field(1, Buffer.alloc(1000, "x"))));
  const event = field(3, Buffer.concat([field(1, number(1, 100)), read]));
  const segment = field(4, Buffer.concat([number(1, 9), event]));
  const unpacked = Buffer.concat(Array(Math.ceil((256 << 20) / segment.length)).fill(segment));
  const sizes = [];
  await begin();
  for (const [program, extension] of [["gzip", "gz"], ["zstd", "zst"]]) {
    const bomb = path.join(scratch, `bomb.pb.${extension}`);
    fs.writeFileSync(bomb, packed(program, unpacked));
    sizes.push(`${fs.statSync(bomb).size >> 10} KiB`);
    await open();
    await add([bomb]);
    await convert();
    const size = await page.evaluate(() => document.querySelector("#results a").capture.size);
    const capture = path.join(scratch, "bomb.pcap");
    fs.rmSync(capture, { force: true });
    run(scratch, "-q", bomb, capture);
    assert.equal(size, fs.statSync(capture).size);
    assert.ok(size > unpacked.length, `${size} bytes`);
    fs.rmSync(capture);
  }
  const peak = Math.max(...processes().filter(({ kind }) => kind === "renderer").map(({ peak }) => peak));
  const mib = Math.round(peak / (1 << 20));
  assert.ok(mib < 400, `the page's process had ${mib} MiB`);
  return `${sizes.join(" and ")}, at most ${mib} MiB in the page's process`;
});

for (const waits of [true, false]) {
  test(`a capture is written straight to a file${waits ? "" : ", without JSPI"}`, async () => {
    const trace = makeTrace("streamed", 16384, 24 << 20);
    const small = fixtures.find((file) => file.endsWith(".pb"));
    await open(waits);
    await page.evaluate(() => {
      window.saved = [];
      window.showSaveFilePicker = async ({ suggestedName }) => {
        if (window.refuse === "picker") throw new DOMException("no", "AbortError");
        const saved = { name: suggestedName, parts: [], ended: null };
        window.saved.push(saved);
        return { name: `my_${suggestedName}`, createWritable: async () => ({
          async write(part) {
            if (window.refuse === "write") throw new Error("the disk is full");
            saved.parts.push(part);
          },
          close: async () => (saved.ended = "closed"),
          abort: async () => (saved.ended = "aborted"),
        }) };
      };
    });
    await add([trace]);
    await page.check("input[name='to-file']");
    await convert();
    const expected = path.join(scratch, "expected.pcap");
    run(scratch, trace, expected);
    const bytes = fs.readFileSync(expected);
    const saved = () => page.evaluate(async () => {
      const { name, parts, ended } = window.saved.at(-1);
      const digest = await crypto.subtle.digest("SHA-256", await new Blob(parts).arrayBuffer());
      return { name, ended, parts: parts.length, digest: [...new Uint8Array(digest)].map((byte) => byte.toString(16).padStart(2, "0")).join("") };
    });
    const whole = await saved();
    assert.deepEqual([whole.ended, whole.digest], ["closed", createHash("sha256").update(bytes).digest("hex")]);
    assert.ok(whole.parts > 4, `${whole.parts} parts`);
    assert.match(await page.textContent("#results article code"), /^tshark -r my_/);
    assert.equal(await page.locator("#results a").count(), 0);
    // A failure to write is reported, and leaves no file.
    await page.evaluate(() => (window.refuse = "write"));
    await convert();
    assert.equal((await saved()).ended, "aborted");
    assert.match((await results())[0].messages[0], /capture: cannot write: the disk is full/);
    await page.evaluate(() => (window.refuse = "picker"));
    await page.click("#convert");
    await page.waitForFunction(() => document.getElementById("status").textContent === "Canceled.");
    // A file that is not a trace leaves no capture either. Several captures are offered as downloads.
    await page.evaluate(() => (window.refuse = null));
    await page.click("#clear");
    const other = path.join(scratch, "other.pb");
    fs.writeFileSync(other, "<html></html>");
    await add([other]);
    await convert();
    assert.equal((await saved()).ended, "aborted");
    await add([small]);
    assert.ok(await page.locator("#to-file").isHidden());
  });
}

// The time in milliseconds in which the browser reads a file without the module, by a stream into the same memory.
function reading() {
  return page.evaluate(() => {
    const source = `onmessage = async ({ data: file }) => {
      const begun = performance.now();
      const stream = file.stream().getReader({ mode: "byob" });
      let buffer = new ArrayBuffer(1 << 20);
      for (let at = 0; at < file.size; at += buffer.byteLength) {
        const length = Math.min(buffer.byteLength, file.size - at);
        ({ value: { buffer } } = await stream.read(new Uint8Array(buffer, 0, length), { min: length }));
      }
      postMessage(performance.now() - begun);
    };`;
    return new Promise((resolve) => {
      const url = URL.createObjectURL(new Blob([source]));
      const worker = new Worker(url);
      worker.onmessage = ({ data }) => {
        resolve(data);
        worker.terminate();
        URL.revokeObjectURL(url);
      };
      worker.postMessage(traces[0].file);
    });
  });
}

// The best times of several rounds, in which the conversions take turns, in milliseconds. The first conversion of a page is
// measured separately: it compiles the module, and has no memory to reuse.
if (process.env.CAPTURE2PCAP_SPEED) {
  test("64 MiB of 16 KiB events take no more than three times the command's time, or twice the browser's for reading them", async () => {
    const trace = makeTrace("buffered", 16384, 64 << 20);
    const release = process.env.CAPTURE2PCAP_SPEED;
    const best = { command: Infinity, reading: Infinity, page: Infinity, first: Infinity };
    const note = (name, time) => (best[name] = Math.min(best[name], time));
    const converting = () => page.evaluate(async () => {
      const begun = performance.now();
      await convert();
      return performance.now() - begun;
    });
    for (let i = 0; i < 5; i += 1) {
      await open();
      await add([trace]);
      note("first", await converting());
    }
    for (let i = 0; i < 20; i += 1) {
      const capture = path.join(scratch, "speed.pcap");
      fs.rmSync(capture, { force: true });
      const begun = performance.now();
      execFileSync(release, [trace, capture]);
      note("command", performance.now() - begun);
      note("page", await converting());
      note("reading", await reading());
    }
    const measured = Object.entries(best).map(([name, time]) => `${name} ${time.toFixed(0)} ms`).join(", ");
    assert.ok(best.page <= Math.max(3 * best.command, 2 * best.reading), measured);
    return `${measured}, ratio ${(best.page / best.command).toFixed(2)}`;
  });
}
