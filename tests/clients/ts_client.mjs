// The TypeScript SDK of the older era (@modelcontextprotocol/sdk 1.32) against a host.
import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { StdioClientTransport } from "@modelcontextprotocol/sdk/client/stdio.js";
import { StreamableHTTPClientTransport } from "@modelcontextprotocol/sdk/client/streamableHttp.js";
import { ResourceUpdatedNotificationSchema } from "@modelcontextprotocol/sdk/types.js";
import { main } from "./scenario.mjs";

await main("@modelcontextprotocol/sdk", async ({ http, command, era }) => {
  if (era !== "legacy") throw new Error("this SDK speaks the older era only");
  const transport = http
    ? new StreamableHTTPClientTransport(new URL(http))
    : new StdioClientTransport({ command: command[0], args: command.slice(1) });
  // The SDK tells the negotiated version to its transport only.
  let negotiated;
  const tell = transport.setProtocolVersion?.bind(transport);
  transport.setProtocolVersion = (version) => {
    negotiated = version;
    tell?.(version);
  };
  const client = new Client({ name: "portcullis-tests", version: "1.0.0" });
  await client.connect(transport);
  return {
    client,
    call: (params, options) => client.callTool(params, undefined, options),
    protocolVersion: () => negotiated,
    onUpdated: (handler) =>
      client.setNotificationHandler(ResourceUpdatedNotificationSchema, ({ params }) => handler(params.uri)),
  };
});
