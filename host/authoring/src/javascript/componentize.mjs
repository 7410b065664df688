// Makes a component of a JavaScript module. Run in the folder from which componentize-js can be imported; what to do
// comes as JSON in the first argument.
import { writeFile } from "node:fs/promises";
import { componentize } from "@bytecodealliance/componentize-js";

const { folder, entry, wit, world, features, target } = JSON.parse(process.argv[1]);
const known = ["stdio", "random", "clocks", "http", "fetch-event"];
try {
  // What is imported by a relative path lies in the plugin's folder.
  process.chdir(folder);
  const { component } = await componentize({
    sourcePath: entry,
    witPath: wit,
    worldName: world,
    disableFeatures: known.filter((feature) => !features.includes(feature)),
  });
  await writeFile(target, component);
} catch (error) {
  console.error(error?.message ?? String(error));
  process.exit(1);
}
