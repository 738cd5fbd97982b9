// Tests the page in Chromium: it has the same captures, objects and messages as the command, and requests nothing.
// Usage: node page.mjs PAGE COMMAND TESTDATA MAKE_TRACE [SCREENSHOTS]; web/test/run.sh calls it. CAPTURE2PCAP_PAGE_TEST
// selects the tests whose names contain it.
import path from "node:path";
import fs from "node:fs";
import "./captures.mjs";
import "./use.mjs";
import "./large.mjs";
import "./private.mjs";
import { screenshots, scratch, browser, page, errors, open, add, convert, fixtures, tests } from "./harness.mjs";

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
