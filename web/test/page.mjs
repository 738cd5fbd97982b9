// Tests the page in Chromium: every fixture gives the command's bytes, objects and messages, and nothing is requested.
// Usage: node page.mjs PAGE COMMAND TESTDATA [SCREENSHOTS]; web/test/run.sh calls it.
import assert from "node:assert/strict";
import { execFileSync, spawnSync } from "node:child_process";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { pathToFileURL } from "node:url";
import { chromium } from "playwright-core";

const [page_file, command, testdata, screenshots] = process.argv.slice(2).map((arg) => path.resolve(arg));
const scratch = fs.mkdtempSync(path.join(os.tmpdir(), "capture2pcap-page-"));
const executablePath = process.env.CHROMIUM ?? "/usr/bin/chromium";
const args = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
  "--disable-component-update", "--disable-sync"];
const browser = await chromium.launch({ executablePath, headless: true, args });
const context = await browser.newContext({ acceptDownloads: true });
const requests = [];
context.on("request", (request) => requests.push(request.url()));
const page = await context.newPage();
const errors = [];
page.on("pageerror", (error) => errors.push(error.message));

async function open() {
  await page.goto(pathToFileURL(page_file).href);
}

// Adds files by the file chooser's input, and waits until all are read.
async function add(files) {
  await page.setInputFiles("#files", files);
  await page.waitForFunction(() => !document.getElementById("convert").disabled && !document.querySelector(".waiting"), null, { timeout: 300_000 });
}

async function convert() {
  await page.click("#convert");
  await page.waitForFunction(() => !document.getElementById("convert").disabled, null, { timeout: 300_000 });
}

const infos = () => page.evaluate(() => traces.map((trace) => trace.object));

async function results() {
  return page.evaluate(async () => {
    const found = [];
    for (const article of document.querySelectorAll("#results article")) {
      const link = article.querySelector("a");
      let capture = null;
      if (link) {
        const bytes = new Uint8Array(await link.capture.arrayBuffer());
        let text = "";
        for (let i = 0; i < bytes.length; i += 32768) text += String.fromCharCode(...bytes.subarray(i, i + 32768));
        capture = btoa(text);
      }
      found.push({ name: article.querySelector("h3").textContent, capture, object: article.object,
        messages: [...article.querySelectorAll(".messages li")].map((line) => line.textContent) });
    }
    return found;
  });
}

function run(cwd, ...given) {
  const done = spawnSync(command, given, { cwd, maxBuffer: 1 << 28 });
  return { stderr: done.stderr.toString().trimEnd().split("\n").filter(Boolean), stdout: done.stdout };
}

function walk(folder) {
  return fs.readdirSync(folder, { withFileTypes: true }).flatMap((entry) => {
    const full = path.join(folder, entry.name);
    return entry.isDirectory() ? walk(full) : [full];
  });
}

const isTrace = (name) => /\.(pb|pb_length_delimited|pb_text|json)(\.(gz|zst))?$/.test(name);
const fixtures = walk(testdata).filter((file) => isTrace(file) && fs.statSync(file).size < 8 << 20);
const tests = [];
const test = (name, body) => tests.push([name, body]);


// Newer Nodes have Map.groupBy.
function byFolder() {
  const folders = new Map();
  for (const file of fixtures) folders.set(path.dirname(file), [...(folders.get(path.dirname(file)) ?? []), file]);
  return folders;
}

for (const [format, options] of [["pcap", {}], ["pcapng", { redact: true }]]) {
  test(`every fixture gives the command's ${format}${options.redact ? ", redacted" : ""}`, async () => {
    // A folder at a time: a folder's files have names of their own.
    const folders = byFolder();
    let compared = 0;
    for (const [folder, files] of folders) {
      await open();
      await add(files);
      await page.check(`input[name=format][value=${format}]`);
      if (options.redact) await page.check("input[name=redact]");
      await convert();
      const given = options.redact ? ["--redact"] : [];
      const [shown, made] = [await infos(), await results()];
      for (const [i, file] of files.toSorted().entries()) {
        const name = path.basename(file);
        const capture = path.join(scratch, `expected.${format}`);
        fs.rmSync(capture, { force: true });
        const { stderr } = run(folder, ...given, name, capture);
        assert.deepEqual(made[i].messages, stderr, `${file}: messages`);
        const expected = fs.existsSync(capture) ? fs.readFileSync(capture) : null;
        assert.equal(made[i].capture === null, expected === null, `${file}: whether there is a capture`);
        if (expected) assert.ok(Buffer.from(made[i].capture, "base64").equals(expected), `${file}: ${format}`);
        if (format === "pcap") {
          const object = JSON.parse(run(folder, "--info", "--json", name).stdout.toString());
          delete object.tshark;
          const { tshark, ...page_object } = shown[i];
          assert.deepEqual(page_object, object, `${file}: object`);
        }
        compared += 1;
      }
    }
    assert.ok(compared > 20, `${compared} fixtures`);
    return `${compared} fixtures`;
  });
}

test("a merge gives the command's bytes", async () => {
  const groups = [...byFolder()].filter(([, files]) => files.length > 1);
  const [folder, files] = groups.toSorted(([, a], [, b]) => b.length - a.length)[0];
  await open();
  await add(files);
  await page.check("input[name=merge][value='1']");
  await page.check("input[name=format][value=pcapng]");
  await convert();
  const [made] = await results();
  const capture = path.join(scratch, "merged.pcapng");
  const { stderr } = run(folder, "--merge", ...files.map((file) => path.basename(file)).toSorted(), capture);
  assert.deepEqual(made.messages, stderr.filter((line) => !/^capture2pcap: \d+ captures? of /.test(line)));
  assert.ok(Buffer.from(made.capture, "base64").equals(fs.readFileSync(capture)));
  return `${files.length} traces`;
});

test("a damaged one, an empty one and something else say what they are; a stand-in address is the command's", async () => {
  const whole = fs.readFileSync(fixtures.find((file) => file.endsWith(".pb_length_delimited")));
  const cases = { "cut.pb_length_delimited": whole.subarray(0, whole.length - 5), "empty.pb": "", "photo.json": Buffer.from([0xff, 0xd8, 0xff, 0xe0, 0, 16]) };
  for (const [name, bytes] of Object.entries(cases)) fs.writeFileSync(path.join(scratch, name), bytes);
  await open();
  await add(Object.keys(cases).map((name) => path.join(scratch, name)));
  await page.fill("input[name=local]", "10.9.8.7:443");
  await convert();
  const made = await results();
  for (const [i, name] of Object.keys(cases).toSorted().entries()) {
    const capture = path.join(scratch, "case.pcap");
    fs.rmSync(capture, { force: true });
    const { stderr } = run(scratch, "--local", "10.9.8.7:443", name, capture);
    assert.deepEqual(made[i].messages, stderr, name);
    assert.ok(stderr.length > 0, name);
    assert.equal(made[i].capture !== null, fs.existsSync(capture), name);
  }
  await page.fill("input[name=local]", "nowhere");
  await convert();
  assert.match((await results())[0].messages[0], /local address "nowhere"/);
});

// Compresses as the programs of these names do.
function packed(program, bytes) {
  return spawnSync(program, ["-c", ...(program === "zstd" ? ["-q"] : ["-n"])], { input: bytes, maxBuffer: 1 << 28 }).stdout;
}

test("compressed traces give the command's captures, each and merged", async () => {
  const folder = path.join(scratch, "packed");
  fs.mkdirSync(folder);
  const plain = fixtures.filter((file) => !/\.(gz|zst)$/.test(file));
  // Names that are unique, since the folder is one.
  const files = plain.flatMap((file, i) => ["gzip", "zstd"].map((program) => {
    const made = path.join(folder, `${i}_${path.basename(file)}${program === "gzip" ? ".gz" : ".zst"}`);
    fs.writeFileSync(made, packed(program, fs.readFileSync(file)));
    return made;
  }));
  // The rest of a cut one, what comes after the end, and what is packed otherwise.
  const [gz, zst] = ["gzip", "zstd"].map((program) => packed(program, Buffer.concat(plain.filter((file) => file.endsWith(".pb_length_delimited")).map((file) => fs.readFileSync(file)))));
  const cases = { "cut.gz": gz.subarray(0, gz.length / 2), "cut.zst": zst.subarray(0, zst.length / 2), "after.gz": Buffer.concat([gz, Buffer.from("garbage")]),
    "after.zst": Buffer.concat([zst, zst, Buffer.from("garbage")]), "twice.gz": packed("gzip", gz), "other.bz2": Buffer.from("BZh91AY&SY"),
    "other.xz": Buffer.from([0xfd, 0x37, 0x7a, 0x58, 0x5a, 0, 0, 4]), "other.zip": Buffer.from("PK\x03\x04\x14\0\0\0") };
  for (const [name, bytes] of Object.entries(cases)) {
    fs.writeFileSync(path.join(folder, name), bytes);
    files.push(path.join(folder, name));
  }
  files.sort();
  await open();
  await add(files);
  await convert();
  const made = await results();
  for (const [i, file] of files.entries()) {
    const capture = path.join(scratch, "packed.pcap");
    fs.rmSync(capture, { force: true });
    const { stderr } = run(folder, path.basename(file), capture);
    assert.deepEqual(made[i].messages, stderr, `${file}: messages`);
    const expected = fs.existsSync(capture) ? fs.readFileSync(capture) : null;
    assert.equal(made[i].capture === null, expected === null, `${file}: whether there is a capture`);
    if (expected) assert.ok(Buffer.from(made[i].capture, "base64").equals(expected), file);
  }
  await page.check("input[name=merge][value='1']");
  await convert();
  const [merged] = await results();
  const capture = path.join(scratch, "packed_merged.pcap");
  const { stderr } = run(folder, "--merge", ...files.map((file) => path.basename(file)), capture);
  assert.deepEqual(merged.messages, stderr.filter((line) => !/^capture2pcap: \d+ captures? of /.test(line)));
  assert.ok(Buffer.from(merged.capture, "base64").equals(fs.readFileSync(capture)), "merged");
  return `${files.length} compressed ones`;
});

test("a drop of 20 traces, a download, and the command that opens it", async () => {
  await open();
  const file = fixtures.find((file) => file.endsWith(".pb"));
  const bytes = fs.readFileSync(file).toString("base64");
  const transfer = await page.evaluateHandle((bytes) => {
    const transfer = new DataTransfer();
    const file = Uint8Array.from(atob(bytes), (c) => c.charCodeAt(0));
    for (let i = 0; i < 20; i += 1) transfer.items.add(new File([file], `path_${i}.pb`));
    return transfer;
  }, bytes);
  await page.dispatchEvent("#drop", "drop", { dataTransfer: transfer });
  await page.waitForFunction(() => document.querySelectorAll("#traces article").length === 20 && !document.querySelector(".waiting") && !document.getElementById("convert").disabled);
  await convert();
  const [download] = await Promise.all([page.waitForEvent("download"), page.click("#results article:first-child a")]);
  assert.equal(download.suggestedFilename(), "path_0.pcap");
  const expected = path.join(scratch, "downloaded.pcap");
  run(scratch, file, expected);
  assert.ok(fs.readFileSync(await download.path()).equals(fs.readFileSync(expected)));
  assert.match(await page.textContent("#results article:first-child code"), /^tshark -r path_0\.pcap/);
});

test("the work can be canceled, and begun again", async () => {
  const large = path.join(scratch, "large.pb_length_delimited");
  const whole = fs.readFileSync(fixtures.find((file) => file.endsWith(".pb_length_delimited")));
  fs.writeFileSync(large, Buffer.concat(Array(Math.ceil((48 << 20) / whole.length)).fill(whole)));
  await open();
  // Clicked from within, a moment after it is shown: the work itself is over soon.
  const clicked = page.evaluate(() => new Promise((resolve) => {
    const cancel = document.getElementById("cancel");
    const observer = new MutationObserver(() => {
      if (cancel.hidden) return;
      observer.disconnect();
      setTimeout(() => {
        const running = !cancel.hidden;
        cancel.click();
        resolve(running);
      }, 20);
    });
    observer.observe(cancel, { attributes: true });
  }));
  await page.setInputFiles("#files", large);
  assert.ok(await clicked, "the work was over before it was canceled");
  assert.equal(await page.textContent("#status"), "Canceled.");
  assert.match(await page.textContent("#traces article .waiting"), /canceled/);
  await page.click("#clear");
  await add([fixtures[0]]);
  assert.equal((await infos()).length, 1);
  fs.rmSync(large);
});

test("nothing is requested, and nothing could be: the policy and the module's imports", async () => {
  await open();
  const outside = requests.filter((url) => !url.startsWith("blob:") && url !== pathToFileURL(page_file).href);
  assert.deepEqual(outside, []);
  const refused = await page.evaluate(async () => {
    const violations = [];
    addEventListener("securitypolicyviolation", (event) => violations.push(event.effectiveDirective));
    await fetch("http://127.0.0.1:9/").catch(() => {});
    new Image().src = "http://127.0.0.1:9/x.png";
    await new Promise((resolve) => setTimeout(resolve, 100));
    return violations;
  });
  assert.deepEqual(refused.toSorted(), ["connect-src", "img-src"]);
  const imports = await page.evaluate(() => {
    const bytes = Uint8Array.from(atob(document.getElementById("module").textContent), (c) => c.charCodeAt(0));
    return { size: bytes.length, imports: WebAssembly.Module.imports(new WebAssembly.Module(bytes)).map(({ module, name }) => `${module}.${name}`) };
  });
  assert.deepEqual(imports.imports.toSorted(), ["page.progress", "page.read", "page.write"]);
  assert.ok(imports.size <= 1.5 * (1 << 20), `the module has ${imports.size} bytes`);
  return `${imports.size} bytes`;
});

test("the page is usable by keyboard and on a narrow window", async () => {
  await page.setViewportSize({ width: 360, height: 700 });
  await open();
  await add(fixtures.slice(0, 2));
  const wide = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
  assert.equal(wide, 0, "it scrolls sideways");
  await page.evaluate(() => document.activeElement?.blur());
  const reached = new Set();
  for (let i = 0; i < 40; i += 1) {
    await page.keyboard.press("Tab");
    reached.add(await page.evaluate(() => document.activeElement?.id || document.activeElement?.name || ""));
  }
  for (const id of ["choose", "choose-folder", "clear", "format", "merge", "handshake", "local", "remote", "convert"]) assert.ok(reached.has(id), `${id} is not reached: ${[...reached]}`);
  const unnamed = await page.evaluate(() => [...document.querySelectorAll("button, input, a, progress")]
    .filter((e) => !(e.ariaLabel || e.labels?.length || e.textContent.trim())).map((e) => e.outerHTML));
  assert.deepEqual(unnamed, []);
  await page.setViewportSize({ width: 1280, height: 900 });
});

if (process.env.CAPTURE2PCAP_SPEED) {
  test("64 MiB of 16 KiB events take no more than three times the command's time", async () => {
    const trace = process.env.CAPTURE2PCAP_SPEED;
    await open();
    await add([trace]);
    const seconds = (body) => { const begin = performance.now(); body(); return (performance.now() - begin) / 1000; };
    const native = [0, 1, 2].map(() => seconds(() => execFileSync(command, [trace, path.join(scratch, "speed.pcap")])));
    const inPage = [];
    for (let i = 0; i < 3; i += 1) {
      const begin = performance.now();
      await convert();
      inPage.push((performance.now() - begin) / 1000);
    }
    const [a, b] = [Math.min(...native), Math.min(...inPage)];
    const measured = `command ${a.toFixed(3)} s, page ${b.toFixed(3)} s, ratio ${(b / a).toFixed(2)}`;
    assert.ok(b <= 3 * a, measured);
    return measured;
  });
}

async function screenshot() {
  const files = fixtures.filter((file) => file.endsWith(".pb_length_delimited") || file.endsWith(".pb")).slice(0, 2);
  for (const colorScheme of ["light", "dark"]) {
    await page.emulateMedia({ colorScheme });
    await page.setViewportSize({ width: 1000, height: 760 });
    await open();
    await add(files);
    await convert();
    await page.screenshot({ path: path.join(screenshots, `page-${colorScheme}.png`) });
  }
}

let failed = 0;
for (const [name, body] of tests) {
  try {
    const said = await body();
    console.log(`ok: ${name}${said ? ` (${said})` : ""}`);
  } catch (error) {
    failed += 1;
    console.log(`FAILED: ${name}\n${error.stack}`);
  }
}
if (errors.length > 0) {
  failed += 1;
  console.log(`FAILED: errors in the page: ${errors.join("; ")}`);
}
if (screenshots) await screenshot();
await browser.close();
fs.rmSync(scratch, { recursive: true });
console.log(`${tests.length - failed} of ${tests.length} tests of the page passed`);
process.exit(failed > 0 ? 1 : 0);
