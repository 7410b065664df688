// Builds notes.js into the component named by the first argument. Run with the resolver of
// tests/setup/npm/resolve.mjs, since the packages live outside this folder.
import { writeFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { componentize } from "@bytecodealliance/componentize-js";

const [target] = process.argv.slice(2);
if (!target) {
  console.error("usage: build.mjs TARGET.wasm");
  process.exit(1);
}

const here = (path) => fileURLToPath(new URL(path, import.meta.url));
const { component } = await componentize({
  sourcePath: here("notes.js"),
  witPath: here("wit"),
  worldName: "javascript-notes",
});
await writeFile(target, component);
