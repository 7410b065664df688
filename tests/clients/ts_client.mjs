// The TypeScript SDK of the older era (@modelcontextprotocol/sdk 1.32) against a host.
import { ClientCredentialsProvider } from "@modelcontextprotocol/sdk/client/auth-extensions.js";
import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { StdioClientTransport } from "@modelcontextprotocol/sdk/client/stdio.js";
import { StreamableHTTPClientTransport } from "@modelcontextprotocol/sdk/client/streamableHttp.js";
import { ResourceUpdatedNotificationSchema } from "@modelcontextprotocol/sdk/types.js";
import { connect } from "./oauth.mjs";
import { main } from "./scenario.mjs";

await main("@modelcontextprotocol/sdk", async (args) => {
  const { http, command, era } = args;
  if (era !== "legacy") throw new Error("this SDK speaks the older era only");
  // The SDK tells the negotiated version to its transport only.
  let negotiated;
  const listening = (transport) => {
    const tell = transport.setProtocolVersion?.bind(transport);
    transport.setProtocolVersion = (version) => {
      negotiated = version;
      tell?.(version);
    };
    return transport;
  };
  const makeClient = () => new Client({ name: "portcullis-tests", version: "1.0.0" });
  const overHttp = (url, options) => listening(new StreamableHTTPClientTransport(url, options));
  let client;
  if (args.oauth) {
    ({ client } = await connect(args, overHttp, makeClient, ClientCredentialsProvider));
  } else {
    client = makeClient();
    const stdio = () => listening(new StdioClientTransport({ command: command[0], args: command.slice(1) }));
    await client.connect(http ? overHttp(new URL(http)) : stdio());
  }
  return {
    client,
    call: (params, options) => client.callTool(params, undefined, options),
    protocolVersion: () => negotiated,
    onUpdated: (handler) =>
      client.setNotificationHandler(ResourceUpdatedNotificationSchema, ({ params }) => handler(params.uri)),
  };
});
