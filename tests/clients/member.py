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

# A host that does not answer for so long counts as gone: twice as long as the longest wait here.
CALL_SECONDS = 20
# A team that stands still should fail its test, and not stall it.
WHOLE_RUN_SECONDS = 400
# How often a member turns to the next host before it gives up.
MAX_TURNS = 200


class Refused(Exception):
    """A tool said no, in a sentence."""


class Gone(Exception):
    """The host did not answer."""


class Connection:
    """A client in a task of its own: when its host goes away it ends alone, and not who waits for it."""

    def __init__(self, url: str, key: str) -> None:
        self.url, self.key = url, key
        self.send, self.requests = anyio.create_memory_object_stream(0)
        self.ended = anyio.Event()

    async def run(self) -> None:
        try:
            http = create_mcp_http_client(headers={"Authorization": f"Bearer {self.key}"})
            async with Client(streamable_http_client(self.url, http_client=http)) as client:
                async for ask, answered in self.requests:
                    try:
                        answered["result"] = await ask(client)
                    except MCPError as error:
                        answered["error"] = error
                    finally:
                        answered["event"].set()
        except Exception:  # noqa: BLE001 - however a host is gone
            pass
        finally:
            self.requests.close()
            self.ended.set()

    async def ask(self, what: Any) -> Any:
        answered: dict[str, Any] = {"event": anyio.Event()}
        try:
            with anyio.fail_after(CALL_SECONDS):
                await self.send.send((what, answered))
                await answered["event"].wait()
        except (TimeoutError, anyio.BrokenResourceError, anyio.ClosedResourceError) as error:
            raise Gone(repr(error)) from error
        if "error" in answered:
            raise answered["error"]
        if "result" not in answered:
            raise Gone("the host went away in the middle")
        return answered["result"]


class Member:
    def __init__(self, name: str, hosts: list[tuple[str, str]], tasks: Any) -> None:
        self.name = name
        self.hosts = hosts
        self.tasks = tasks
        self.connection: Connection | None = None
        self.turns = 0

    def tell(self, **what: Any) -> None:
        print(json.dumps({"who": self.name, **what}, ensure_ascii=False), flush=True)

    async def ask(self, what: Any) -> Any:
        """Asks the host, or the next where it is gone: what was asked may be done twice."""
        while True:
            if self.connection is None:
                self.connection = Connection(*self.hosts[self.turns % len(self.hosts)])
                self.tasks.start_soon(self.connection.run)
            try:
                return await self.connection.ask(what)
            except MCPError as error:
                if error.code == -32602:
                    raise
                gone: Exception = error
            except Gone as error:
                gone = error
            await self.leave()
            self.turns += 1
            if self.turns > MAX_TURNS:
                raise RuntimeError(f"no host answers: {gone!r}")
            await anyio.sleep(0.05)

    async def leave(self) -> None:
        connection, self.connection = self.connection, None
        if connection is not None:
            connection.send.close()

    async def call(self, tool: str, **arguments: Any) -> Any:
        """What the tool answers."""
        result = await self.ask(lambda client: client.call_tool(tool, arguments))
        if result.is_error:
            raise Refused("".join(getattr(part, "text", "") for part in result.content))
        return result.structured_content

    async def tools(self) -> list[str]:
        return sorted(tool.name for tool in (await self.ask(lambda client: client.list_tools())).tools)


def main(duties: dict[str, Any]) -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("name")
    parser.add_argument("--duty", choices=sorted(duties), required=True)
    parser.add_argument("--at", nargs=2, action="append", metavar=("URL", "KEY"), required=True)
    parser.add_argument("--count", type=int, default=0)
    args = parser.parse_args()

    async def run() -> None:
        with anyio.fail_after(WHOLE_RUN_SECONDS):
            async with anyio.create_task_group() as tasks:
                member = Member(args.name, [(url, key) for url, key in args.at], tasks)
                await duties[args.duty](member, args.count)
                await member.leave()
                tasks.cancel_scope.cancel()

    anyio.run(run)
    return 0


if __name__ == "__main__":
    sys.exit("this is what research.py and support.py have in common")
