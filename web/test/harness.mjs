// Opens the page in Chromium, runs the command, and compares them. page.mjs describes the arguments and variables.
import { execFileSync, spawnSync } from "node:child_process";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { pathToFileURL } from "node:url";
import { chromium } from "playwright-core";

export const [page_file, command, testdata, make_trace, screenshots] = process.argv.slice(2).map((arg) => path.resolve(arg));
export const scratch = fs.mkdtempSync(path.join(os.tmpdir(), "capture2pcap-page-"));
const executablePath = process.env.CHROMIUM ?? "/usr/bin/chromium";
const args = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
  "--disable-component-update", "--disable-sync"];
export const browser = await chromium.launch({ executablePath, headless: true, args });
export const [requests, errors] = [[], []];
export let context, page;

// Starts a new process for the page, so that earlier pages do not affect its memory.
export async function begin() {
  await context?.close();
  context = await browser.newContext({ acceptDownloads: true });
  context.on("request", (request) => requests.push(request.url()));
  page = await context.newPage();
  page.on("pageerror", (error) => errors.push(error.message));
}
await begin();

// Opens the page. Without `waits`, the module cannot wait for promises, as in browsers without JSPI. `change` runs in the
// worker before everything else.
export async function open(waits = true, change = "") {
  await page.goto(pathToFileURL(page_file).href);
  if (!waits) change += "delete WebAssembly.Suspending;";
  await page.evaluate((change) => {
    // The page may have started its worker already.
    stop();
    document.getElementById("worker").textContent = `{${change}}\n${document.getElementById("worker").textContent}`;
  }, change);
}

// Adds files by the input of the file chooser, and waits until all are read.
export async function add(files) {
  await page.setInputFiles("#files", files);
  await page.waitForFunction(() => !document.getElementById("convert").disabled && !document.querySelector(".waiting"), null, { timeout: 300_000 });
}

export async function convert() {
  await page.click("#convert");
  await page.waitForFunction(() => !document.getElementById("convert").disabled, null, { timeout: 300_000 });
}

export const infos = () => page.evaluate(() => traces.map((trace) => trace.object));

export async function results() {
  return page.evaluate(async () => {
    const found = [];
    for (const article of document.querySelectorAll("#results article")) {
      const link = article.querySelector("a");
      let capture = null;
      if (link) {
        const bytes = new Uint8Array(await link.capture.blob.arrayBuffer());
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

export function run(cwd, ...given) {
  const done = spawnSync(command, given, { cwd, maxBuffer: 1 << 28 });
  return { stderr: done.stderr.toString().trimEnd().split("\n").filter(Boolean), stdout: done.stdout };
}

export function walk(folder) {
  return fs.readdirSync(folder, { withFileTypes: true }).flatMap((entry) => {
    const full = path.join(folder, entry.name);
    return entry.isDirectory() ? walk(full) : [full];
  });
}

const isTrace = (name) => /\.(pb|pb_length_delimited|pb_text|json)(\.(gz|zst))?$/.test(name);
export const fixtures = walk(testdata).filter((file) => isTrace(file) && fs.statSync(file).size < 8 << 20);

// A trace of many events, which is made once.
export function makeTrace(kind, event, size) {
  const trace = path.join(scratch, `${kind}_${size}.pb`);
  if (!fs.existsSync(trace)) execFileSync("python3", [make_trace, kind, String(event), String(size), trace]);
  return trace;
}

export const tests = [];
const wanted = process.env.CAPTURE2PCAP_PAGE_TEST ?? "";
export const test = (name, body) => void (name.includes(wanted) && tests.push([name, body]));

// Compresses with the programs of these names.
export function packed(program, bytes) {
  return spawnSync(program, ["-c", ...(program === "zstd" ? ["-q"] : ["-n"])], { input: bytes, maxBuffer: 1 << 28 }).stdout;
}
