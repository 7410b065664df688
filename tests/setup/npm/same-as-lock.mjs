// Compares what npm installed with the lock: every package installed must stand in the lock with the
// same version and digest, and every package of the lock that is not optional must be installed.
import { readFileSync } from "node:fs";

const packages = (file) => {
  const { packages: all } = JSON.parse(readFileSync(file, "utf8"));
  delete all[""];
  return all;
};

const [lockFile, installedFile] = process.argv.slice(2);
const lock = packages(lockFile);
const installed = packages(installedFile);
const faults = [];

for (const [path, found] of Object.entries(installed)) {
  const wanted = lock[path];
  if (!wanted) {
    // A platform binary that the registry of whoever renewed the lock did not carry.
    if (!(found.optional && found.os)) faults.push(`not in the lock: ${path} ${found.version}`);
  } else if (wanted.version !== found.version || wanted.integrity !== found.integrity) {
    faults.push(`not as locked: ${path}: ${wanted.version} wanted, ${found.version} found`);
  }
}
for (const [path, wanted] of Object.entries(lock)) {
  if (!installed[path] && !wanted.optional && !wanted.peer) faults.push(`not installed: ${path} ${wanted.version}`);
}

for (const fault of faults) console.error(`setup: ${fault}`);
process.exit(faults.length ? 1 : 0);
