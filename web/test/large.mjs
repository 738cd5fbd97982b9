// Large traces: their memory, the way straight to a file, and the time.
import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { once } from "node:events";
import fs from "node:fs";
import path from "node:path";
import { command, scratch, page, open, add, convert, results, run, fixtures, makeTrace, test, packed } from "./harness.mjs";

// The processes that this one started, with what they were started as, and the most memory that each has had, in bytes.
function processes() {
  const parents = new Map();
  for (const pid of fs.readdirSync("/proc").filter((name) => /^\d+$/.test(name))) {
    try {
      const status = fs.readFileSync(`/proc/${pid}/status`, "utf8");
      const number = (name) => Number(status.match(new RegExp(`^${name}:\\s+(\\d+)`, "m"))?.[1] ?? 0);
      const kind = fs.readFileSync(`/proc/${pid}/cmdline`, "utf8").match(/--type=([a-z-]+)/)?.[1] ?? "browser";
      parents.set(Number(pid), { parent: number("PPid"), kind, peak: number("VmHWM") << 10 });
    } catch {
      // It has gone.
    }
  }
  const isOurs = (pid) => pid === process.pid || (parents.has(pid) && isOurs(parents.get(pid).parent));
  return [...parents].filter(([pid]) => pid !== process.pid && isOurs(pid)).map(([, found]) => found);
}

test("1 GiB is converted without being held", async () => {
  const unit = makeTrace("streamed", 16384, 64 << 20);
  const times = 16;
  await open();
  // The file is made of a part of it, again and again: no disk is needed.
  await page.setInputFiles("#files", unit);
  await page.waitForFunction(() => !document.getElementById("convert").disabled && !document.querySelector(".waiting"), null, { timeout: 300_000 });
  const begun = performance.now();
  const longest = await page.evaluate(async (times) => {
    const { file } = traces[0];
    document.getElementById("clear").click();
    add([{ name: "large.pb", file: new File(Array(times).fill(file), "large.pb") }]);
    // How long the page did not answer at most.
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
  const peak = Math.max(...processes().filter(({ kind }) => kind === "renderer").map(({ peak }) => peak));
  const { digests, size } = await page.evaluate(async () => {
    const capture = document.querySelector("#results a").capture;
    const digests = [];
    for (let at = 0; at < capture.size; at += 64 << 20) {
      const digest = await crypto.subtle.digest("SHA-256", await capture.slice(at, at + (64 << 20)).arrayBuffer());
      digests.push([...new Uint8Array(digest)].map((byte) => byte.toString(16).padStart(2, "0")).join(""));
    }
    return { digests, size: capture.size };
  });
  // The command's, from a pipe.
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

test("what unpacks to 256 MiB is not held either", async () => {
  // The same event of one connection, again and again: a field of protobuf in another.
  const field = (number, bytes) => Buffer.concat([Buffer.from([number << 3 | 2, bytes.length & 127 | 128, bytes.length >> 7]), bytes]);
  const number = (number, value) => Buffer.from([number << 3, value]);
  const read = field(2, field(1, field(1, Buffer.alloc(1000, "x"))));
  const event = field(3, Buffer.concat([field(1, number(1, 100)), read]));
  const segment = field(4, Buffer.concat([number(1, 9), event]));
  const unpacked = Buffer.concat(Array(Math.ceil((256 << 20) / segment.length)).fill(segment));
  const sizes = [];
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
  test(`a capture goes straight to a file, where the browser has a picker for one${waits ? "" : ", without JSPI"}`, async () => {
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
    // What cannot be written is reported, and leaves no file.
    await page.evaluate(() => (window.refuse = "write"));
    await convert();
    assert.equal((await saved()).ended, "aborted");
    assert.match((await results())[0].messages[0], /capture: cannot write: the disk is full/);
    await page.evaluate(() => (window.refuse = "picker"));
    await page.click("#convert");
    await page.waitForFunction(() => document.getElementById("status").textContent === "Canceled.");
    // What is no trace leaves none either, and several captures are several downloads.
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

// The time that the browser needs to read a file without a module, two slices at a time, and to keep its bytes in Blobs
// if `kept`, in milliseconds.
function floor(kept) {
  return page.evaluate((kept) => {
    const source = `onmessage = async ({ data: file }) => {
      const [begun, parts] = [performance.now(), []];
      let next = 0;
      const lane = async () => {
        while (next < file.size) {
          const from = next;
          next += 8 << 20;
          const bytes = new Uint8Array(await file.slice(from, next).arrayBuffer());
          if (kept) for (let at = 0; at < bytes.length; at += 4 << 20) parts.push(new Blob([bytes.subarray(at, at + (4 << 20))]));
        }
      };
      await Promise.all([lane(), lane()]);
      postMessage([performance.now() - begun, new Blob(parts).size]);
    };`;
    return new Promise((resolve) => {
      const url = URL.createObjectURL(new Blob([`const kept = ${kept};${source}`]));
      const worker = new Worker(url);
      worker.onmessage = ({ data }) => {
        resolve(data[0]);
        worker.terminate();
        URL.revokeObjectURL(url);
      };
      worker.postMessage(traces[0].file);
    });
  }, kept);
}

// In milliseconds, the best of several rounds, in turn.
if (process.env.CAPTURE2PCAP_SPEED) {
  test("64 MiB of 16 KiB events take no more than three times the command's time, or little more than the browser needs without a module", async () => {
    const trace = makeTrace("buffered", 16384, 64 << 20);
    const release = process.env.CAPTURE2PCAP_SPEED;
    await open();
    await add([trace]);
    const best = { command: Infinity, reading: Infinity, both: Infinity, page: Infinity };
    const note = (name, time) => (best[name] = Math.min(best[name], time));
    for (let i = 0; i < 10; i += 1) {
      const capture = path.join(scratch, "speed.pcap");
      fs.rmSync(capture, { force: true });
      let begun = performance.now();
      execFileSync(release, [trace, capture]);
      note("command", performance.now() - begun);
      note("page", await page.evaluate(async () => {
        const begun = performance.now();
        await convert();
        return performance.now() - begun;
      }));
      note("reading", await floor(false));
      note("both", await floor(true));
    }
    const measured = Object.entries(best).map(([name, time]) => `${name} ${time.toFixed(0)} ms`).join(", ");
    assert.ok(best.page <= Math.max(3 * best.command, 1.5 * best.both), measured);
    return `${measured}, ratio ${(best.page / best.command).toFixed(2)}`;
  });
}
