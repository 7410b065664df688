// Gets tokens as the TypeScript clients do by themselves: from the challenge to the metadata, the issuer, the token.

// Nothing listens there: what the issuer sends the browser to is read from its redirect.
const CALLBACK = "http://127.0.0.1:1/callback";

// A provider for the code flow that keeps all in memory and approves at once.
export class Browser {
  redirectUrl = CALLBACK;
  clientMetadata = {
    client_name: "portcullis-tests",
    redirect_uris: [CALLBACK],
    grant_types: ["authorization_code"],
    response_types: ["code"],
    token_endpoint_auth_method: "none",
  };
  state = () => "state";
  clientInformation = () => this.client;
  saveClientInformation = (client) => void (this.client = client);
  tokens = () => this.kept;
  saveTokens = (tokens) => void (this.kept = tokens);
  saveCodeVerifier = (verifier) => void (this.verifier = verifier);
  codeVerifier = () => this.verifier;
  saveDiscoveryState = (found) => void (this.found = found);
  discoveryState = () => this.found;
  async redirectToAuthorization(url) {
    const response = await fetch(url, { redirect: "manual" });
    this.code = new URL(response.headers.get("location")).searchParams.get("code");
  }
}

// Connects; where the host asks for a token, gets one and connects again, as the SDK's documentation has it.
export async function connect({ http, oauth, issuer }, makeTransport, makeClient, ClientCredentialsProvider) {
  if (oauth === "credentials") {
    const provider = new ClientCredentialsProvider({ clientId: "client", clientSecret: "secret", expectedIssuer: issuer });
    const [client, transport] = [makeClient(), makeTransport(new URL(http), { authProvider: provider })];
    await client.connect(transport);
    return { client, transport };
  }
  const authProvider = new Browser();
  const first = makeTransport(new URL(http), { authProvider });
  const error = await makeClient().connect(first).then(() => undefined, (error) => error);
  if (!authProvider.code) throw error ?? new Error("the host did not ask for a token");
  await first.finishAuth(authProvider.code);
  const [client, transport] = [makeClient(), makeTransport(new URL(http), { authProvider })];
  await client.connect(transport);
  return { client, transport };
}
