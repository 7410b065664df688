// What every TypeScript client here does against a host, apart from how it connects: list, call, fail,
// progress, cancel, bad arguments, unknown tool. README.md has the arguments and the output.
import { parseArgs } from "node:util";

// How long after the client's cancel the call may take to end at the client.
const CANCEL_GRACE_MS = 2000;
// Nothing here takes long; a host that hangs should fail the test, not stall it.
const WHOLE_RUN_MS = 60_000;

// What the test has put into shared context: the address, its type, its content.
export const RESOURCES = [
  ["kv://shared/client/json", "application/json", '{"a":1}'],
  ["kv://shared/client/t%C3%A4xt", "text/plain", "text"],
  ["kv://shared/client/blob", "application/octet-stream", "AP8="],
];
// What changes all the time.
const TICK = "kv://shared/tick";
const UPDATE_MS = 30_000;

export class Report {
  constructor(client, { transport, era }) {
    this.seen = { client, transport, era };
    this.failures = [];
  }

  expect(holds, sentence) {
    if (!holds) this.failures.push(sentence);
  }

  // One step that fails does not keep the others from being tried.
  async step(name, run) {
    try {
      this.seen[name] = await run();
    } catch (error) {
      this.failures.push(`${name}: ${error.name}: ${error.message}`);
    }
  }

  finish() {
    const { failures } = this;
    process.stdout.write(`${JSON.stringify({ ...this.seen, ok: failures.length === 0, failures })}\n`);
    return failures.length ? 1 : 0;
  }
}

export function parseArguments(argv = process.argv.slice(2)) {
  // Everything after --stdio is the command, options of its own included.
  const split = argv.indexOf("--stdio");
  const command = split < 0 ? undefined : argv.slice(split + 1);
  const { values } = parseArgs({
    args: split < 0 ? argv : argv.slice(0, split),
    options: {
      http: { type: "string" },
      era: { type: "string", default: "legacy" },
      spins: { type: "string", default: "1" },
      echo: { type: "string", default: "echo_echo" },
      fail: { type: "string", default: "outcomes_fail" },
      progress: { type: "string", default: "progress_work" },
      spin: { type: "string", default: "outcomes_spin" },
      resources: { type: "boolean", default: false },
      updates: { type: "boolean", default: false },
      confirm: { type: "boolean", default: false },
      oauth: { type: "string" },
      issuer: { type: "string" },
      authorization: { type: "string" },
    },
  });
  if (!["auto", "legacy"].includes(values.era)) throw new Error("--era: auto or legacy");
  if (!values.http === !command?.length) throw new Error("one of --http URL and --stdio COMMAND… is needed");
  return { ...values, spins: Number(values.spins), command, transport: values.http ? "http" : "stdio" };
}

export const textOf = (result) =>
  (result?.content ?? []).filter((block) => block.type === "text").map((block) => block.text).join("\n");

// `connect(args)` resolves to { client, call(params, options), protocolVersion(), onUpdated(handler), notFound },
// the last where the client gives its callers another code than the one that the host sent.
export async function main(name, connect) {
  const args = parseArguments();
  const report = new Report(name, args);
  const watchdog = setTimeout(() => {
    report.failures.push(`not done after ${WHOLE_RUN_MS} ms`);
    process.exit(report.finish());
  }, WHOLE_RUN_MS);
  let connection;
  try {
    connection = await connect(args);
    await scenario(connection, args, report);
  } catch (error) {
    report.failures.push(`connection: ${error.name}: ${error.message}`);
  }
  try {
    await connection?.client.close();
  } catch (error) {
    report.failures.push(`close: ${error.name}: ${error.message}`);
  }
  clearTimeout(watchdog);
  process.exitCode = report.finish();
}

async function scenario({ client, person, call, protocolVersion, onUpdated, notFound }, args, report) {
  const expect = report.expect.bind(report);
  report.seen.protocolVersion = protocolVersion();
  report.seen.serverInfo = client.getServerVersion();
  const modern = report.seen.protocolVersion >= "2026";
  expect(modern === (args.era === "auto"), `era: asked for ${args.era}, got ${report.seen.protocolVersion}`);

  const echo = async (text) => {
    const result = await call({ name: args.echo, arguments: { text } });
    expect(!result.isError, "echo: isError");
    expect(result.structuredContent?.result === text, `echo: structured ${JSON.stringify(result.structuredContent)}`);
    expect(JSON.parse(textOf(result)).result === text, `echo: text ${textOf(result)}`);
    return result.structuredContent;
  };

  if (args.confirm) {
    await report.step("confirm", async () => {
      for (const [says, text] of [["decline", "declined"], ["cancel", "did not decide"]]) {
        person.says = says;
        const result = await call({ name: args.echo, arguments: { text: "hi" } });
        expect(result.isError && textOf(result).includes(text), `confirm: ${says}: ${textOf(result)}`);
      }
      person.says = "accept";
      await echo("hi");
      const asked = person.read.filter((read) => read.includes(`\`${args.echo}\``) && read.includes('"hi"'));
      expect(asked.length === 3 && person.read.length === 3, `confirm: asked ${JSON.stringify(person.read)}`);
      return person.read;
    });
    return;
  }

  await report.step("tools", async () => {
    const { tools } = await client.listTools();
    const tool = tools.find(({ name }) => name === args.echo);
    expect(tool, `list: no tool ${args.echo}`);
    expect(tool?.inputSchema.properties.text.type === "string", "list: `text` is no string");
    expect(tool?.inputSchema.required.includes("text"), "list: `text` is not required");
    expect(tool?.outputSchema, "list: no output schema");
    return tools.map(({ name }) => name);
  });

  if (args.resources) {
    await report.step("resources", async () => {
      const listed = new Map();
      let cursor;
      do {
        const page = await client.listResources({ cursor });
        for (const resource of page.resources) listed.set(resource.uri, resource);
        cursor = page.nextCursor;
      } while (cursor);
      for (const [uri, mimeType, content] of RESOURCES) {
        expect(listed.get(uri)?.mimeType === mimeType, `resources: ${uri}: ${JSON.stringify(listed.get(uri))}`);
        const [found] = (await client.readResource({ uri })).contents;
        expect(found.mimeType === mimeType && (found.text ?? found.blob) === content, `resources: ${JSON.stringify(found)}`);
      }
      const { resourceTemplates } = await client.listResourceTemplates();
      const templates = resourceTemplates.map(({ uriTemplate }) => uriTemplate);
      expect(templates.join() === "kv://shared/{+key}", `resources: templates ${templates}`);
      const error = await client.readResource({ uri: "kv://shared/nothing" }).then(() => undefined, (error) => error);
      expect(error?.code === (notFound ?? (modern ? -32602 : -32002)), `resources: code ${error?.code}: ${error?.message}`);
      return [...listed.keys()];
    });
  }

  if (args.updates) {
    await report.step("updates", async () => {
      const read = async () => (await client.readResource({ uri: TICK })).contents[0].text;
      const before = await read();
      const updated = new Set();
      onUpdated((uri) => updated.add(uri));
      const subscription = modern
        ? await client.listen({ resourceSubscriptions: [TICK] })
        : await client.subscribeResource({ uri: TICK });
      const end = performance.now() + UPDATE_MS;
      while (!updated.has(TICK) || (await read()) === before) {
        if (performance.now() > end) throw new Error(`no update of ${TICK} but of ${[...updated]}`);
        await new Promise((resolve) => setTimeout(resolve, 10));
      }
      if (modern) await subscription.close();
      else await client.unsubscribeResource({ uri: TICK });
      return before;
    });
  }

  await report.step("echo", () => echo("hi"));

  await report.step("fail", async () => {
    const result = await call({ name: args.fail, arguments: { message: "no" } });
    expect(result.isError, "fail: not isError");
    expect(textOf(result).includes("no"), `fail: text ${textOf(result)}`);
    return textOf(result);
  });

  await report.step("progress", async () => {
    const reports = [];
    const result = await call(
      { name: args.progress, arguments: { steps: 5, ms_per_step: 20 } },
      { onprogress: ({ progress, total, message }) => reports.push([progress, total, message]) },
    );
    expect(!result.isError, `progress: isError: ${textOf(result)}`);
    expect(reports.length >= 3, `progress: ${reports.length} reports`);
    const values = reports.map(([progress]) => progress);
    expect(values.every((value, at) => at === 0 || values[at - 1] < value), `progress: not increasing: ${values}`);
    return reports;
  });

  await report.step("cancel", async () => {
    const took = [];
    for (let spin = 0; spin < args.spins; spin++) {
      const start = performance.now();
      const controller = new AbortController();
      setTimeout(() => controller.abort("enough"), 300);
      const ended = await call({ name: args.spin, arguments: {} }, { signal: controller.signal }).then(
        (result) => `by itself: ${textOf(result)}`,
        () => (controller.signal.aborted ? "cancelled" : "by an error before the cancel"),
      );
      took.push(Math.round(performance.now() - start));
      expect(ended === "cancelled", `cancel: the call ended ${ended}`);
      expect(took[spin] < 300 + CANCEL_GRACE_MS, `cancel: took ${took[spin]} ms`);
    }
    return took;
  });

  await report.step("wrongType", async () => {
    const result = await call({ name: args.echo, arguments: { text: 7 } });
    expect(result.isError, "wrong type: not isError");
    expect(textOf(result).includes("$.text"), `wrong type: text ${textOf(result)}`);
    return textOf(result);
  });

  await report.step("unknownTool", async () => {
    const error = await call({ name: "no_such_tool", arguments: {} }).then(() => undefined, (error) => error);
    expect(error, "unknown tool: no error");
    expect(error?.code === -32602, `unknown tool: code ${error?.code}: ${error?.message}`);
    return error && { code: error.code, message: error.message };
  });

  await report.step("last", () => echo("still here"));
}
