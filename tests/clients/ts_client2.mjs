// The TypeScript client of both eras (@modelcontextprotocol/client 2.4) against a host.
// On stdio with `--era auto` it starts the command twice: a short-lived sibling finds out the era.
import { Client, StreamableHTTPClientTransport } from "@modelcontextprotocol/client";
import { StdioClientTransport } from "@modelcontextprotocol/client/stdio";
import { main } from "./scenario.mjs";

await main("@modelcontextprotocol/client", async ({ http, command, era }) => {
  const transport = http
    ? new StreamableHTTPClientTransport(new URL(http))
    : new StdioClientTransport({ command: command[0], args: command.slice(1) });
  const client = new Client(
    { name: "portcullis-tests", version: "1.0.0" },
    { versionNegotiation: { mode: era } },
  );
  await client.connect(transport);
  return {
    client,
    call: (params, options) => client.callTool(params, options),
    protocolVersion: () => client.getNegotiatedProtocolVersion(),
    // The code of the newer era, whichever the host's was.
    notFound: -32602,
    onUpdated: (handler) =>
      client.setNotificationHandler("notifications/resources/updated", ({ params }) => handler(params.uri)),
  };
});
