// Dropping and choosing files and folders. page.js comes before this file in the same script.

// Finds the traces among the dropped items. Handles are preferred to entries: in a page that was opened from the disk,
// Chromium lists a folder only by its handle.
async function below(item, path, found) {
  const [isFile, inner] = [item.isFile ?? item.kind === "file", `${path}${item.name}/`];
  if (isFile) {
    if (path !== "" && !TRACE.test(item.name)) return;
    const file = await (item.getFile ? item.getFile() : new Promise((resolve, reject) => item.file(resolve, reject)));
    found.push({ name: path + item.name, file });
  } else if (item.values) {
    for await (const child of item.values()) await below(child, inner, found);
  } else {
    const reader = item.createReader();
    for (;;) {
      const some = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
      if (some.length === 0) return;
      for (const child of some) await below(child, inner, found);
    }
  }
}

addEventListener("dragover", (event) => {
  event.preventDefault();
  $("drop").classList.add("over");
});
addEventListener("dragleave", () => $("drop").classList.remove("over"));
addEventListener("drop", async (event) => {
  event.preventDefault();
  $("drop").classList.remove("over");
  // Requested at once, because the browser empties the list after the event.
  const items = [...event.dataTransfer.items].filter((item) => item.kind === "file");
  const dropped = items.map((item) => [item.getAsFileSystemHandle?.(), item.webkitGetAsEntry?.(), item.getAsFile()]);
  const [found, unread] = [[], []];
  for (const [handle, entry, file] of dropped) {
    const item = (await Promise.resolve(handle).catch(() => null)) ?? entry;
    try {
      if (item) await below(item, "", found);
      else if (file) found.push({ name: file.name, file });
    } catch {
      unread.push(plain(item.name));
    }
  }
  add(found, unread);
});
$("choose").onclick = () => $("files").click();
$("choose-folder").onclick = () => $("folder").click();
$("files").onchange = ({ target }) => {
  add([...target.files].map((file) => ({ name: file.name, file })));
  target.value = "";
};
$("folder").onchange = ({ target }) => {
  const files = [...target.files].filter((file) => TRACE.test(file.name));
  add(files.map((file) => ({ name: file.webkitRelativePath || file.name, file })));
  target.value = "";
};
