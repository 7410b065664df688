"""A member of a team: an agent with a key for each of some hosts, who goes on at the next where one is gone.

What it does is printed as lines of JSON, for tests and for people.
"""

import argparse
import json
import sys
from typing import Any

import anyio
from mcp import Client, MCPError
from mcp.client.streamable_http import streamable_http_client
from mcp.shared._httpx_utils import create_mcp_http_client

# A host that does not answer for so long counts as gone.
CALL_SECONDS = 45
# A team that stands still should fail its test, and not stall it.
WHOLE_RUN_SECONDS = 400
# How often a member turns to the next host before it gives up.
MAX_TURNS = 200


class Refused(Exception):
    """A tool said no, in a sentence."""


class Member:
    def __init__(self, name: str, hosts: list[tuple[str, str]]) -> None:
        self.name = name
        self.hosts = hosts
        self.client: Client | None = None
        self.turns = 0

    def tell(self, **what: Any) -> None:
        print(json.dumps({"who": self.name, **what}, ensure_ascii=False), flush=True)

    async def connect(self) -> Client:
        url, key = self.hosts[self.turns % len(self.hosts)]
        http = create_mcp_http_client(headers={"Authorization": f"Bearer {key}"})
        client = Client(streamable_http_client(url, http_client=http))
        await client.__aenter__()
        return client

    async def leave(self) -> None:
        client, self.client = self.client, None
        if client is not None:
            try:
                await client.__aexit__(None, None, None)
            except Exception:  # noqa: BLE001 - what is gone is gone
                pass

    async def call(self, tool: str, **arguments: Any) -> Any:
        """What the tool answers. Where the host is gone it is called once more at the next: a call may be done twice."""
        while True:
            try:
                if self.client is None:
                    self.client = await self.connect()
                with anyio.fail_after(CALL_SECONDS):
                    result = await self.client.call_tool(tool, arguments)
            except MCPError as error:
                if error.code == -32602:
                    raise
                await self.turn(error)
                continue
            except Exception as error:  # noqa: BLE001 - however a host is gone
                await self.turn(error)
                continue
            text = "".join(getattr(part, "text", "") for part in result.content)
            if result.is_error:
                raise Refused(text)
            return result.structured_content

    async def turn(self, error: BaseException) -> None:
        await self.leave()
        self.turns += 1
        if self.turns > MAX_TURNS:
            raise RuntimeError(f"no host answers: {error!r}")
        await anyio.sleep(0.05)

    async def tools(self) -> list[str]:
        if self.client is None:
            self.client = await self.connect()
        return sorted(tool.name for tool in (await self.client.list_tools()).tools)


def main(duties: dict[str, Any]) -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("name")
    parser.add_argument("--duty", choices=sorted(duties), required=True)
    parser.add_argument("--at", nargs=2, action="append", metavar=("URL", "KEY"), required=True)
    parser.add_argument("--count", type=int, default=0)
    args = parser.parse_args()

    async def run() -> None:
        member = Member(args.name, [(url, key) for url, key in args.at])
        with anyio.fail_after(WHOLE_RUN_SECONDS):
            await duties[args.duty](member, args.count)
        await member.leave()

    anyio.run(run)
    return 0


if __name__ == "__main__":
    sys.exit("this is what research.py and support.py have in common")
