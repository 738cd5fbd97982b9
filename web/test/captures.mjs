// For every fixture, the page has the same bytes, objects and messages as the command: alone, merged, redacted, damaged,
// compressed.
import assert from "node:assert/strict";
import fs from "node:fs";
import path from "node:path";
import { command, scratch, page, open, add, convert, infos, results, run, fixtures, test, packed } from "./harness.mjs";

// Newer versions of Node have Map.groupBy.
function byFolder() {
  const folders = new Map();
  for (const file of fixtures) folders.set(path.dirname(file), [...(folders.get(path.dirname(file)) ?? []), file]);
  return folders;
}

for (const [format, options] of [["pcap", {}], ["pcapng", { redact: true }]]) {
  test(`every fixture gives the command's ${format}${options.redact ? ", redacted" : ""}`, async () => {
    // One folder at a time, because only the names within a folder are unique.
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

test("a damaged trace, an empty one and another file cause the command's messages; so does a stand-in address", async () => {
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

for (const waits of [true, false]) {
  test(`compressed traces give the command's captures, each and merged${waits ? "" : ", in a browser without JSPI"}`, async () => {
    const folder = path.join(scratch, "packed");
    fs.mkdirSync(folder, { recursive: true });
    const plain = fixtures.filter((file) => !/\.(gz|zst)$/.test(file));
    // The names have to be unique, because all files are in one folder.
    const files = plain.flatMap((file, i) => ["gzip", "zstd"].map((program) => {
      const made = path.join(folder, `${i}_${path.basename(file)}${program === "gzip" ? ".gz" : ".zst"}`);
      fs.writeFileSync(made, packed(program, fs.readFileSync(file)));
      return made;
    }));
    // A file that is cut, files with other bytes after the end, and other compressions.
    const [gz, zst] = ["gzip", "zstd"].map((program) => packed(program, Buffer.concat(plain.filter((file) => file.endsWith(".pb_length_delimited")).map((file) => fs.readFileSync(file)))));
    const cases = { "cut.gz": gz.subarray(0, gz.length / 2), "cut.zst": zst.subarray(0, zst.length / 2), "after.gz": Buffer.concat([gz, Buffer.from("garbage")]),
      "after.zst": Buffer.concat([zst, zst, Buffer.from("garbage")]), "twice.gz": packed("gzip", gz), "other.bz2": Buffer.from("BZh91AY&SY"),
      "other.xz": Buffer.from([0xfd, 0x37, 0x7a, 0x58, 0x5a, 0, 0, 4]), "other.zip": Buffer.from("PK\x03\x04\x14\0\0\0") };
    for (const [name, bytes] of Object.entries(cases)) {
      fs.writeFileSync(path.join(folder, name), bytes);
      files.push(path.join(folder, name));
    }
    files.sort();
    await open(waits);
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
}
