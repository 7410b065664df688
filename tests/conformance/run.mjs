// Runs the suites and judges their result files itself, by the suites' own rule (a scenario fails when one
// of its checks is a FAILURE or a WARNING; an expected failure that passes is an error too). Itself, because
// the suites leave what they do not score out of that rule, and 0.1.16 knows whole scenarios only.
import { spawn } from "node:child_process";
import { createWriteStream, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync } from "node:fs";
import { once } from "node:events";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { parse } from "yaml";

// `passes`: the scenarios that need no fixed names (PROTOCOL.md). They must run and pass; that they are
// missing from a result, or found nothing to check, is a failure too.
const SUITES = {
  "0.1.16": {
    package: "conformance-0.1",
    options: ["--suite", "all"],
    passes: [
      ...["server-initialize", "tools-list", "resources-list", "dns-rebinding-protection", "ping"],
      "server-sse-multiple-streams",
    ],
  },
  "2025-11-25": {
    package: "conformance-0.2",
    options: ["--requirements", "2025-11-25"],
    passes: [
      ...["server-initialize", "server-session-lifecycle", "tools-list", "resources-list", "dns-rebinding-protection"],
      ...["ping", "server-sse-multiple-streams"],
    ],
  },
  "2026-07-28": {
    package: "conformance-0.2",
    options: ["--requirements", "2026-07-28"],
    passes: [
      ...["tools-list", "resources-list", "caching", "http-header-validation", "dns-rebinding-protection"],
      ...["server-sse-multiple-streams", "sep-2164-resource-not-found"],
    ],
  },
};
// What no expectation excuses: a message that is not valid by the schema of the negotiated revision.
const NEVER_EXPECTED = new Set(["wire-schema-valid"]);
// A whole suite takes some 20 seconds against a host that answers.
const SUITE_MS = 180_000;

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { out: { type: "string" }, json: { type: "boolean", default: false } },
});
const [url, ...names] = positionals;
const wanted = names.length ? names : Object.keys(SUITES);
const unknown = wanted.filter((name) => !SUITES[name]);
if (!url || unknown.length) {
  console.error(`usage: run URL [--out DIR] [--json] [SUITE…], suites: ${Object.keys(SUITES).join(", ")}`);
  process.exit(1);
}
const out = resolve(values.out ?? mkdtempSync(join(tmpdir(), "portcullis-conformance-")));
const tools = process.env.PORTCULLIS_TOOLS;

// Where each failure is expected: a whole scenario, or the ids of single checks of it.
function expectedFailures(suite) {
  const file = fileURLToPath(new URL(`expected-${suite}.yaml`, import.meta.url));
  const expected = new Map();
  for (const entry of parse(readFileSync(file, "utf8"))?.server ?? []) {
    const [scenario, check] = entry.split(/:(.*)/s);
    const known = expected.get(scenario) ?? { whole: false, checks: new Set() };
    if (check) known.checks.add(check);
    else known.whole = true;
    expected.set(scenario, known);
  }
  return expected;
}

async function runSuite(suite) {
  const folder = join(out, suite);
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  const log = createWriteStream(join(folder, "output.txt"));
  await once(log, "open");
  const { package: name, options } = SUITES[suite];
  const program = join(tools, "npm/node_modules", name, "dist/index.js");
  const ran = spawn(process.execPath, [program, "server", "--url", url, ...options, "-o", folder], {
    stdio: ["ignore", log, log],
    timeout: SUITE_MS,
  });
  const [code, signal] = await once(ran, "close");
  log.end();
  // The exit code is the suite's own judgement, which knows nothing of what is expected here.
  return { suite, finished: signal === null && code <= 1, scenarios: judge(suite, folder) };
}

const failing = ({ status }) => status === "FAILURE" || status === "WARNING";

function judge(suite, folder) {
  const expected = expectedFailures(suite);
  const scenarios = [];
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    if (!entry.isDirectory()) continue;
    // server-<scenario>-<time of the run>
    const scenario = entry.name.replace(/^server-/, "").replace(/-\d{4}-\d{2}-\d{2}T.*$/, "");
    const rule = expected.get(scenario) ?? { whole: false, checks: new Set() };
    expected.delete(scenario);
    let checks;
    try {
      checks = JSON.parse(readFileSync(join(folder, entry.name, "checks.json"), "utf8"));
    } catch {
      checks = [{ id: scenario, status: "FAILURE", errorMessage: "the suite wrote no result" }];
    }
    scenarios.push({ scenario, ...verdict(checks, rule) });
  }
  for (const scenario of expected.keys()) {
    scenarios.push({ scenario, verdict: "stale", problems: ["expected to fail, but the suite has no such scenario"] });
  }
  for (const scenario of SUITES[suite].passes) {
    const found = scenarios.find((each) => each.scenario === scenario);
    if (!found) scenarios.push({ scenario, verdict: "fail", problems: ["must pass, but did not run"] });
    else if (found.verdict === "nothing to check" || found.verdict === "expected") {
      Object.assign(found, { verdict: "fail", problems: [`must pass: ${found.verdict}`, ...found.problems] });
    }
  }
  return scenarios.sort((a, b) => (a.scenario < b.scenario ? -1 : 1));
}

function verdict(checks, rule) {
  const failed = checks.filter(failing);
  const passed = checks.filter(({ status }) => status === "SUCCESS").length;
  const say = ({ id, status, errorMessage }) => `${id} (${status.toLowerCase()}): ${errorMessage ?? "no reason given"}`;
  const unexpected = failed.filter(({ id }) => NEVER_EXPECTED.has(id) || !(rule.whole || rule.checks.has(id)));
  // A check that did not run, since one before it failed, is not stale.
  const stale = [...rule.checks].filter(
    (id) => checks.some((check) => check.id === id && check.status === "SUCCESS") && !failed.some((check) => check.id === id),
  );
  if (unexpected.length) return { verdict: "fail", passed, problems: unexpected.map(say) };
  if (rule.whole && !failed.length) return { verdict: "stale", passed, problems: ["expected to fail, but passes"] };
  if (stale.length) return { verdict: "stale", passed, problems: stale.map((id) => `${id}: expected to fail, but passes`) };
  if (failed.length) return { verdict: "expected", passed, problems: failed.map(say) };
  return { verdict: passed ? "pass" : "nothing to check", passed, problems: [] };
}

const results = [];
for (const suite of wanted) results.push(await runSuite(suite));

const bad = ({ verdict }) => verdict === "fail" || verdict === "stale";
const ok = results.every(({ finished, scenarios }) => finished && scenarios.length && !scenarios.some(bad));
if (values.json) {
  console.log(JSON.stringify({ ok, out, results }));
} else {
  const words = { pass: "pass", expected: "expected failure", fail: "FAIL", stale: "STALE", "nothing to check": "nothing to check" };
  for (const { suite, finished, scenarios } of results) {
    for (const { scenario, verdict, passed, problems } of scenarios) {
      console.log(`${suite} ${scenario}: ${words[verdict]}${passed ? ` (${passed} checks passed)` : ""}`);
      if (bad({ verdict })) for (const problem of problems) console.log(`    ${problem.slice(0, 600)}`);
    }
    const count = (...kinds) => scenarios.filter(({ verdict }) => kinds.includes(verdict)).length;
    console.log(
      `${suite}: ${count("pass")} pass, ${count("expected")} expected failures, ${count("fail")} unexpected, ` +
        `${count("stale")} stale${finished ? "" : "; the suite did not finish"}`,
    );
  }
  console.log(`results: ${out}`);
}
process.exitCode = ok ? 0 : 1;
