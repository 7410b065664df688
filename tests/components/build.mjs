// Builds a JavaScript source in a folder beside this file, for a world of its `wit`, into a component. Run with the
// resolver of tests/setup/npm/resolve.mjs, since the packages live outside this folder.
import { writeFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { componentize } from "@bytecodealliance/componentize-js";

const [source, world, target] = process.argv.slice(2);
if (!target) {
  console.error("usage: build.mjs FOLDER/SOURCE.js WORLD TARGET.wasm");
  process.exit(1);
}

const here = (path) => fileURLToPath(new URL(path, import.meta.url));
const { component } = await componentize({
  sourcePath: here(source),
  witPath: here(`${source}/../wit`),
  worldName: world,
});
await writeFile(target, component);
