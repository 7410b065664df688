// The TypeScript client of both eras (@modelcontextprotocol/client 2.4) against a host.
// On stdio with `--era auto` it starts the command twice: a short-lived sibling finds out the era.
import { Client, ClientCredentialsProvider, StreamableHTTPClientTransport } from "@modelcontextprotocol/client";
import { StdioClientTransport } from "@modelcontextprotocol/client/stdio";
import { connect } from "./oauth.mjs";
import { main } from "./scenario.mjs";

await main("@modelcontextprotocol/client", async (args) => {
  const { http, command, era } = args;
  const person = { read: [], says: "accept" };
  const makeClient = () => {
    const capabilities = args.confirm ? { elicitation: { form: {} } } : {};
    const options = { versionNegotiation: { mode: era }, capabilities };
    const client = new Client({ name: "portcullis-tests", version: "1.0.0" }, options);
    if (args.confirm) {
      client.setRequestHandler("elicitation/create", ({ params }) => {
        person.read.push(params.message);
        return person.says === "accept" ? { action: "accept", content: {} } : { action: person.says };
      });
    }
    return client;
  };
  const overHttp = (url, options) => new StreamableHTTPClientTransport(url, options);
  let client;
  if (args.oauth) {
    ({ client } = await connect(args, overHttp, makeClient, ClientCredentialsProvider));
  } else {
    client = makeClient();
    const stdio = () => new StdioClientTransport({ command: command[0], args: command.slice(1) });
    const requestInit = args.authorization ? { headers: { Authorization: args.authorization } } : {};
    await client.connect(http ? overHttp(new URL(http), { requestInit }) : stdio());
  }
  return {
    client,
    person,
    call: (params, options) => client.callTool(params, options),
    protocolVersion: () => client.getNegotiatedProtocolVersion(),
    // The code of the newer era, whichever the host's was.
    notFound: -32602,
    onUpdated: (handler) =>
      client.setNotificationHandler("notifications/resources/updated", ({ params }) => handler(params.uri)),
  };
});
