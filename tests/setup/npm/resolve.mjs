// Lets scripts of this repository import the npm packages of tests/.tools: a bare specifier that does
// not resolve from the script is looked up there. Use: `node --import tests/setup/npm/resolve.mjs SCRIPT`.
import { registerHooks } from "node:module";
import { resolve as path } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";

const tools = process.env.PORTCULLIS_TOOLS ?? fileURLToPath(new URL("../../.tools", import.meta.url));
const parentURL = pathToFileURL(path(tools, "npm/package.json")).href;

registerHooks({
  resolve(specifier, context, next) {
    const bare = !/^(\.|\/|node:|file:|data:)/.test(specifier);
    if (!bare || context.parentURL?.includes("/node_modules/")) return next(specifier, context);
    return next(specifier, { ...context, parentURL });
  },
});
