// The page requests nothing, and cannot.
import assert from "node:assert/strict";
import { pathToFileURL } from "node:url";
import { page_file, requests, page, open, test } from "./harness.mjs";

test("nothing is requested; the policy and the imports of the module allow nothing else", async () => {
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
