// The actions of a user: dropping, choosing and canceling, also with a keyboard or a screen reader.
import assert from "node:assert/strict";
import fs from "node:fs";
import path from "node:path";
import { pathToFileURL } from "node:url";
import { page_file, command, scratch, context, page, open, add, convert, infos, results, run, fixtures, test, packed } from "./harness.mjs";

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

test("a capture becomes a Blob when the user wants it, by a key, a click or the menu, and the Blob is freed with the result", async () => {
  const file = fixtures.find((file) => file.endsWith(".pb"));
  const expected = path.join(scratch, "wanted.pcap");
  run(scratch, file, expected);
  const link = page.locator("#results a");
  const href = () => link.evaluate((link) => link.href);
  const ways = {
    key: () => link.press("Enter"),
    // A click as by a screen reader.
    click: () => link.evaluate((link) => link.click()),
    again: () => link.click(),
    menu: () => link.click({ button: "right" }),
    "key of the menu": () => link.dispatchEvent("contextmenu"),
  };
  await open();
  await add([file]);
  await page.evaluate(() => {
    window.revoked = [];
    const { revokeObjectURL } = URL;
    URL.revokeObjectURL = (url) => (window.revoked.push(url), revokeObjectURL.call(URL, url));
  });
  for (const [way, want] of Object.entries(ways)) {
    await convert();
    assert.ok(!(await href()).startsWith("blob:"), `${way}: before`);
    const downloading = way.includes("menu") ? null : page.waitForEvent("download", { timeout: 10_000 });
    downloading?.catch(() => {});
    await want();
    const url = await href();
    assert.ok(url.startsWith("blob:"), `${way}: ${url}`);
    if (downloading) {
      const download = await downloading;
      assert.equal(download.suggestedFilename(), path.basename(file).replace(/pb$/, "pcap"));
      assert.ok(fs.readFileSync(await download.path()).equals(fs.readFileSync(expected)), way);
      // The second download is the same.
      await want();
      assert.equal(await href(), url);
    }
    await page.keyboard.press("Escape");
    await page.evaluate(() => removeResults());
    assert.ok((await page.evaluate(() => window.revoked)).includes(url), `${way}: the address is still there`);
  }
});

test("the module is compiled before the first trace is dropped", async () => {
  await page.goto(pathToFileURL(page_file).href);
  await page.waitForFunction(() => worker !== null, null, { timeout: 10_000 });
  await add(fixtures.slice(0, 1));
  assert.equal((await infos()).length, 1);
});

test("the work can be canceled and started again", async () => {
  const large = path.join(scratch, "large.pb_length_delimited");
  const whole = fs.readFileSync(fixtures.find((file) => file.endsWith(".pb_length_delimited")));
  fs.writeFileSync(large, Buffer.concat(Array(Math.ceil((48 << 20) / whole.length)).fill(whole)));
  await open();
  // The script in the page clicks a moment after the button appears, because the work soon ends.
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

test("a folder is searched, chosen or dropped", async () => {
  const folder = path.join(scratch, "taps");
  const trace = fixtures.find((file) => file.endsWith(".pb"));
  for (const name of ["n1/path_0.pb", "n2/path_0.pb", "n2/deep/path_1.pb.gz", "n2/deep/notes.txt", "path_2.json"]) {
    fs.mkdirSync(path.dirname(path.join(folder, name)), { recursive: true });
    const bytes = fs.readFileSync(trace);
    fs.writeFileSync(path.join(folder, name), name.endsWith(".gz") ? packed("gzip", bytes) : bytes);
  }
  const expected = ["taps/n1/path_0.pb", "taps/n2/deep/path_1.pb.gz", "taps/n2/path_0.pb", "taps/path_2.json"];
  const names = () => page.evaluate(() => traces.map((trace) => trace.name));
  const read = () => page.waitForFunction(() => traces.length > 0 && !document.getElementById("convert").disabled && !document.querySelector(".waiting"));
  await open();
  await page.setInputFiles("#folder", folder);
  await read();
  assert.deepEqual(await names(), expected);
  await convert();
  assert.deepEqual((await results()).map(({ name, capture }) => [name, capture !== null]),
    [["taps_n1_path_0.pb.pcap", true], ["path_1.pcap", true], ["taps_n2_path_0.pb.pcap", true], ["path_2.pcap", true]]);
  // A drop of the browser, as from a file manager.
  await open();
  const { x, y, width, height } = await page.locator("#drop").boundingBox();
  const session = await context.newCDPSession(page);
  for (const type of ["dragEnter", "dragOver", "drop"])
    await session.send("Input.dispatchDragEvent", { type, x: x + width / 2, y: y + height / 2, data: { items: [], files: [folder], dragOperationsMask: 1 } });
  await read();
  assert.deepEqual(await names(), expected);
  // A browser that has only entries, one of which the page may not read.
  await page.click("#clear");
  await page.evaluate(() => {
    const file = (name) => ({ isFile: true, name, file: (resolve) => resolve(new File(["{}"], name)) });
    const folder = (name, ...rounds) => ({ isFile: false, name, createReader: () => ({ readEntries: (resolve) => resolve(rounds.shift() ?? []) }) });
    const closed = { isFile: false, name: "closed", createReader: () => ({ readEntries: (_, reject) => reject(new Error("no")) }) };
    const drop = new Event("drop", { bubbles: true, cancelable: true });
    const items = [folder("a", [file("1.pb"), file("x.txt")], [folder("b", [file("2.json.zst")])]), closed].map((entry) => ({ kind: "file", webkitGetAsEntry: () => entry, getAsFile: () => null }));
    Object.defineProperty(drop, "dataTransfer", { value: { items } });
    document.getElementById("drop").dispatchEvent(drop);
  });
  await read();
  assert.deepEqual(await names(), ["a/1.pb", "a/b/2.json.zst"]);
  assert.match(await page.textContent("#status"), /2 traces read\. The browser does not let the page read all of closed/);
});

test("each control and each result has a name and a role for a screen reader", async () => {
  await open();
  await add(fixtures.filter((file) => file.endsWith(".pb")).slice(0, 1));
  await convert();
  const session = await context.newCDPSession(page);
  const read = async () => {
    const { nodes } = await session.send("Accessibility.getFullAXTree");
    return nodes.filter(({ ignored }) => !ignored).map(({ role, name, properties }) => ({
      role: role?.value, name: name?.value ?? "", ...Object.fromEntries((properties ?? []).map(({ name, value }) => [name, value.value])),
    }));
  };
  let tree = await read();
  const named = (role) => tree.filter((node) => node.role === role).map(({ name }) => name);
  // On a busy machine, Chromium updates the tree a moment after the page.
  for (let left = 100; named("link").length === 0 && left > 0; left -= 1) {
    await new Promise((resolve) => setTimeout(resolve, 50));
    tree = await read();
  }
  const controls = ["button", "checkbox", "radio", "textbox", "link", "progressbar", "region", "form", "group", "table"];
  assert.deepEqual(tree.filter(({ role, name }) => controls.includes(role) && !name).map(({ role }) => role), [], "without a name");
  assert.deepEqual(named("heading").slice(0, 2), ["capture2pcap", "Drop traces or a folder here"]);
  assert.deepEqual(named("main").length, 1);
  for (const name of ["Choose traces…", "Choose a folder…", "Remove all", "Convert"]) assert.ok(named("button").includes(name), name);
  assert.ok(named("link")[0].startsWith("Download "), named("link")[0]);
  assert.ok(named("button").some((name) => name.startsWith("Copy: tshark -r ")));
  for (const name of ["Capture", "Traces", "Handshake", "Redact", "Stand-ins for missing addresses"]) assert.ok(named("group").includes(name), name);
  assert.ok(named("columnheader").includes("local"));
  // A screen reader announces the status by itself.
  const status = tree.find(({ role }) => role === "status");
  assert.equal(status?.live, "polite");
  assert.match(await page.textContent("#status"), /1 of 1 capture ready/);
  // The contrast between text and background is sufficient in the light and the dark scheme.
  for (const colorScheme of ["light", "dark"]) {
    await page.emulateMedia({ colorScheme });
    const faint = await page.evaluate(() => {
      const light = (color) => {
        const parts = color.match(/[\d.]+/g).slice(0, 3).map((part) => part / 255);
        const [r, g, b] = parts.map((part) => (part <= 0.03928 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4));
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
      };
      const back = (element) => {
        for (; element; element = element.parentElement) {
          const { backgroundColor } = getComputedStyle(element);
          if (!/rgba\(.*, 0\)/.test(backgroundColor)) return backgroundColor;
        }
        return "rgb(255, 255, 255)";
      };
      const texts = [...document.querySelectorAll("main *")].filter((e) => e.checkVisibility() && [...e.childNodes].some((n) => n.nodeType === 3 && n.data.trim()));
      return texts.map((e) => {
        const [a, b] = [light(getComputedStyle(e).color), light(back(e))].toSorted((a, b) => b - a);
        return { text: e.textContent.slice(0, 30), ratio: (a + 0.05) / (b + 0.05) };
      }).filter(({ ratio }) => ratio < 4.5);
    });
    assert.deepEqual(faint, [], colorScheme);
  }
  await page.emulateMedia({ colorScheme: null });
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
