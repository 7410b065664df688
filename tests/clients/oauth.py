"""Gets tokens as the official Python client does by itself: from the challenge to the metadata, the issuer, the token."""

from urllib.parse import parse_qs, urlparse

import httpx2
from mcp.client.auth import OAuthClientProvider
from mcp.client.auth.extensions.client_credentials import ClientCredentialsOAuthProvider
from mcp.client.streamable_http import streamable_http_client
from mcp.shared._httpx_utils import create_mcp_http_client
from mcp.shared.auth import AuthorizationCodeResult, OAuthClientMetadata

# Nothing listens there: what the issuer sends the browser to is read from its redirect.
CALLBACK = "http://127.0.0.1:1/callback"


class Memory:
    """Keeps tokens for one run."""

    def __init__(self) -> None:
        self.tokens = None
        self.client = None

    async def get_tokens(self):
        return self.tokens

    async def set_tokens(self, tokens) -> None:
        self.tokens = tokens

    async def get_client_info(self):
        return self.client

    async def set_client_info(self, client_info) -> None:
        self.client = client_info


class Browser:
    """Opens the issuer's page, which approves at once."""

    async def open(self, url: str) -> None:
        async with httpx2.AsyncClient() as client:
            response = await client.get(url)
        self.answer = parse_qs(urlparse(response.headers["location"]).query)

    async def code(self) -> AuthorizationCodeResult:
        return AuthorizationCodeResult(code=self.answer["code"][0], state=self.answer["state"][0])


def transport(url: str, how: str, issuer: str):
    if how == "credentials":
        auth = ClientCredentialsOAuthProvider(url, Memory(), "client", "secret", issuer=issuer)
    else:
        browser = Browser()
        metadata = OAuthClientMetadata(redirect_uris=[CALLBACK], client_name="portcullis-tests")
        auth = OAuthClientProvider(url, metadata, Memory(), browser.open, browser.code)
    return streamable_http_client(url, http_client=create_mcp_http_client(auth=auth))
