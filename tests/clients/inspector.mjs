// The MCP Inspector's command line (2.12) against a host: one process a step. It cannot cancel and does
// not show progress, so those steps are left to the other clients; its check of the schemas is extra.
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { RESOURCES, Report, parseArguments, textOf } from "./scenario.mjs";

const STEP_MS = 30_000;
// Exit codes of the Inspector that the steps expect.
const DONE = 0;
const TOOL_ERROR = 5;

const tools = process.env.PORTCULLIS_TOOLS ?? fileURLToPath(new URL("../.tools", import.meta.url));
const inspector = join(tools, "npm/node_modules/@modelcontextprotocol/inspector/clients/launcher/build/index.js");
const args = parseArguments();
const report = new Report("@modelcontextprotocol/inspector --cli", args);
const expect = report.expect.bind(report);
// It keeps files in the home directory; here it gets one of its own.
const home = mkdtempSync(join(tmpdir(), "portcullis-inspector-"));

// The server stands in a file, since the Inspector would take the options of its command for its own.
const [command, ...commandArgs] = args.command ?? [];
const config = join(home, "servers.json");
const headers = args.authorization ? { headers: { Authorization: args.authorization } } : {};
const host = args.http ? { type: "streamable-http", url: args.http, ...headers } : { command, args: commandArgs };
writeFileSync(config, JSON.stringify({ mcpServers: { host } }));
const place = ["--config", config, "--server", "host"];

function inspect(...options) {
  const base = ["--cli", "--format", "json", "--quiet", "--protocol-era", args.era, ...place];
  const ran = spawnSync(process.execPath, [inspector, ...base, ...options], {
    env: { ...process.env, HOME: home },
    encoding: "utf8",
    timeout: STEP_MS,
  });
  if (ran.error) throw ran.error;
  const [out, error] = [ran.stdout, ran.stderr].map((text) => {
    try {
      return JSON.parse(text);
    } catch {
      return undefined;
    }
  });
  return { code: ran.status, result: out?.result, error: error?.error, stderr: ran.stderr };
}

const call = (tool, values) =>
  inspect("--method", "tools/call", "--tool-name", tool, "--tool-args-json", JSON.stringify(values));

await report.step("tools", () => {
  const { code, result, stderr } = inspect("--method", "tools/list");
  expect(code === DONE, `list: exit code ${code}: ${stderr}`);
  const echo = result?.tools.find(({ name }) => name === args.echo);
  expect(echo, `list: no tool ${args.echo}`);
  expect(echo?.inputSchema.properties.text.type === "string", "list: `text` is no string");
  expect(echo?.outputSchema, "list: no output schema");
  return result?.tools.map(({ name }) => name);
});

// It subscribes to nothing from its command line; that is left to the other clients.
if (args.resources) {
  await report.step("resources", () => {
    const { code, result, stderr } = inspect("--method", "resources/list");
    expect(code === DONE, `resources: exit code ${code}: ${stderr}`);
    for (const [uri, mimeType, content] of RESOURCES) {
      expect(result?.resources.some((found) => found.uri === uri), `resources: ${uri} is not listed`);
      const [found] = inspect("--method", "resources/read", "--uri", uri).result?.contents ?? [];
      expect(found?.mimeType === mimeType && (found.text ?? found.blob) === content, `resources: ${JSON.stringify(found)}`);
    }
    return result?.resources.map(({ uri }) => uri);
  });
}

await report.step("strict", () => {
  const { code, stderr } = inspect("--method", "tools/list", "--strict");
  expect(code === DONE, `strict: exit code ${code}: ${stderr}`);
  return code;
});

await report.step("echo", () => {
  const { code, result, stderr } = call(args.echo, { text: "hi" });
  expect(code === DONE, `echo: exit code ${code}: ${stderr}`);
  expect(result?.structuredContent?.result === "hi", `echo: ${JSON.stringify(result)}`);
  expect(JSON.parse(textOf(result)).result === "hi", `echo: text ${textOf(result)}`);
  if (args.era === "auto") {
    const server = result._meta?.["io.modelcontextprotocol/serverInfo"];
    expect(server, "echo: no serverInfo in `_meta`, so not the era asked for, or not identified");
    report.seen.serverInfo = server;
  }
  return result.structuredContent;
});

await report.step("fail", () => {
  const { code, result } = call(args.fail, { message: "no" });
  expect(code === TOOL_ERROR && result?.isError, `fail: exit code ${code}: ${JSON.stringify(result)}`);
  expect(textOf(result).includes("no"), `fail: text ${textOf(result)}`);
  return textOf(result);
});

await report.step("progress", () => {
  const { code, result, stderr } = call(args.progress, { steps: 5, ms_per_step: 20 });
  expect(code === DONE, `progress: exit code ${code}: ${stderr}`);
  return result?.structuredContent;
});

await report.step("wrongType", () => {
  const { code, result } = call(args.echo, { text: 7 });
  expect(code === TOOL_ERROR && result?.isError, `wrong type: exit code ${code}: ${JSON.stringify(result)}`);
  expect(textOf(result).includes("$.text"), `wrong type: text ${textOf(result)}`);
  return textOf(result);
});

await report.step("unknownTool", () => {
  const { code, error } = call("no_such_tool", {});
  expect(code !== DONE && error, `unknown tool: exit code ${code}`);
  return error;
});

rmSync(home, { recursive: true, force: true });
process.exitCode = report.finish();
