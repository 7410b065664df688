"""The official Python client against a host: list, call, fail, progress, cancel, bad arguments, unknown tool.

Prints what it saw as one JSON object; exits 1 when an expectation failed. README.md has the arguments.
"""

import argparse
import json
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import anyio
from mcp import Client, MCPError, StdioServerParameters
from mcp.types import ElicitResult, ResourceUpdatedNotification

# How long after the client's cancel the call may take to end at the client.
CANCEL_GRACE_SECONDS = 2.0
# Nothing here takes long; a host that hangs should fail the test, not stall it.
WHOLE_RUN_SECONDS = 60
# What the test has put into shared context: by address, the type and the content.
RESOURCES = {
    "kv://shared/client/json": ("application/json", '{"a":1}'),
    "kv://shared/client/t%C3%A4xt": ("text/plain", "text"),
    "kv://shared/client/blob": ("application/octet-stream", "AP8="),
}
# What changes all the time.
TICK = "kv://shared/tick"
UPDATE_SECONDS = 30


class Person:
    """Who is asked before a tool runs: says what the test has them say next."""

    def __init__(self) -> None:
        self.read: list[str] = []
        self.says = "accept"

    async def asked(self, _context: Any, params: Any) -> ElicitResult:
        self.read.append(params.message)
        return ElicitResult(action=self.says, content={} if self.says == "accept" else None)


class Report:
    """What was seen, and every expectation that did not hold."""

    def __init__(self, transport: str, era: str) -> None:
        self.seen: dict[str, Any] = {"client": "python mcp", "transport": transport, "era": era}
        self.failures: list[str] = []
        self.updated: set[str] = set()

    def expect(self, holds: bool, sentence: str) -> None:
        if not holds:
            self.failures.append(sentence)

    async def step(self, name: str, run: Callable[[], Awaitable[Any]]) -> None:
        """One step that fails does not keep the others from being tried."""
        try:
            self.seen[name] = await run()
        except Exception as error:  # noqa: BLE001 - whatever the client raises belongs in the report
            self.failures.append(f"{name}: {cause(error)}")

    async def told(self, message: Any) -> None:
        """Notes which resources the host says have changed."""
        if isinstance(message, ResourceUpdatedNotification):
            self.updated.add(str(message.params.uri))

    def finish(self) -> int:
        print(json.dumps({**self.seen, "ok": not self.failures, "failures": self.failures}))
        return 1 if self.failures else 0


def cause(error: BaseException) -> str:
    """What went wrong, without the groups that task groups wrap around it."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return f"{type(error).__name__}: {error}"


def text_of(result: Any) -> str:
    return "\n".join(block.text for block in result.content if block.type == "text")


async def pages(client: Client) -> AsyncIterator[Any]:
    cursor = None
    while True:
        page = await client.list_resources(cursor=cursor)
        for resource in page.resources:
            yield resource
        cursor = page.next_cursor
        if cursor is None:
            return


async def scenario(client: Client, args: argparse.Namespace, report: Report, person: Person) -> None:
    expect = report.expect
    server = client.server_info
    report.seen["protocolVersion"] = client.protocol_version
    report.seen["serverInfo"] = server.model_dump(mode="json", exclude_none=True) if server else None
    modern = client.protocol_version >= "2026"
    expect(modern == (args.era == "auto"), f"era: asked for {args.era}, got {client.protocol_version}")

    async def tools() -> list[str]:
        listed = (await client.list_tools()).tools
        echo = next((tool for tool in listed if tool.name == args.echo), None)
        expect(echo is not None, f"list: no tool {args.echo}")
        if echo is not None:
            expect(echo.input_schema["properties"]["text"]["type"] == "string", "list: `text` is no string")
            expect("text" in echo.input_schema["required"], "list: `text` is not required")
            expect(echo.output_schema is not None, "list: no output schema")
        return [tool.name for tool in listed]

    async def echo(text: str = "hi") -> Any:
        result = await client.call_tool(args.echo, {"text": text})
        expect(not result.is_error, "echo: isError")
        expect(result.structured_content == {"result": text}, f"echo: structured {result.structured_content}")
        expect(json.loads(text_of(result)) == {"result": text}, f"echo: text {text_of(result)}")
        return result.structured_content

    async def fail() -> str:
        result = await client.call_tool(args.fail, {"message": "no"})
        expect(result.is_error, "fail: not isError")
        expect("no" in text_of(result), f"fail: text {text_of(result)}")
        return text_of(result)

    async def progress() -> list[Any]:
        reports: list[tuple[float, float | None, str | None]] = []

        async def told(done: float, total: float | None, message: str | None) -> None:
            reports.append((done, total, message))

        arguments = {"steps": 5, "ms_per_step": 20}
        result = await client.call_tool(args.progress, arguments, progress_callback=told)
        expect(not result.is_error, f"progress: isError: {text_of(result)}")
        values = [done for done, _, _ in reports]
        expect(len(values) >= 3, f"progress: {len(values)} reports")
        expect(all(a < b for a, b in zip(values, values[1:])), f"progress: not increasing: {values}")
        return reports

    async def cancel() -> list[float]:
        took = []
        for _ in range(args.spins):
            start = time.monotonic()
            with anyio.move_on_after(0.3) as scope:
                result = await client.call_tool(args.spin, {})
                expect(False, f"cancel: the call ended by itself: {text_of(result)}")
            took.append(round(time.monotonic() - start, 3))
            expect(scope.cancelled_caught, "cancel: not cancelled")
            expect(took[-1] < 0.3 + CANCEL_GRACE_SECONDS, f"cancel: took {took[-1]} s")
        return took

    async def wrong_type() -> str:
        result = await client.call_tool(args.echo, {"text": 7})
        expect(result.is_error, "wrong type: not isError")
        expect("$.text" in text_of(result), f"wrong type: text {text_of(result)}")
        return text_of(result)

    async def unknown_tool() -> Any:
        try:
            await client.call_tool("no_such_tool", {})
        except MCPError as error:
            expect(error.code == -32602, f"unknown tool: code {error.code}")
            return {"code": error.code, "message": error.message}
        expect(False, "unknown tool: no error")
        return None

    async def resources() -> Any:
        listed = {resource.uri: resource async for resource in pages(client)}
        read = {}
        for uri, (mime_type, content) in RESOURCES.items():
            expect(uri in listed and listed[uri].mime_type == mime_type, f"resources: {uri} is not listed")
            contents = (await client.read_resource(uri)).contents[0]
            found = getattr(contents, "text", None) or getattr(contents, "blob", None)
            expect((contents.mime_type, found) == (mime_type, content), f"resources: {uri}: {contents}")
            read[uri] = found
        templates = (await client.list_resource_templates()).resource_templates
        expect([t.uri_template for t in templates] == ["kv://shared/{+key}"], f"resources: templates {templates}")
        try:
            await client.read_resource("kv://shared/nothing")
            expect(False, "resources: one that is not there was read")
        except MCPError as error:
            expect(error.code == (-32602 if modern else -32002), f"resources: code {error.code}")
        return read

    async def updates() -> str:
        before = (await client.read_resource(TICK)).contents[0].text
        with anyio.fail_after(UPDATE_SECONDS):
            if modern:
                async with client.listen(resource_subscriptions=[TICK]) as subscription:
                    async for event in subscription:
                        expect(event.uri == TICK, f"updates: {event}")
                        if (await client.read_resource(TICK)).contents[0].text != before:
                            break
            else:
                await client.subscribe_resource(TICK)
                while (await client.read_resource(TICK)).contents[0].text == before or TICK not in report.updated:
                    await anyio.sleep(0.01)
                await client.unsubscribe_resource(TICK)
        return before

    async def confirm() -> list[str]:
        for says, text in [("decline", "declined"), ("cancel", "did not decide")]:
            person.says = says
            result = await client.call_tool(args.echo, {"text": "hi"})
            expect(result.is_error and text in text_of(result), f"confirm: {says}: {text_of(result)}")
        person.says = "accept"
        await echo()
        expect(len(person.read) == 3, f"confirm: asked {len(person.read)} times")
        expect(all(f"`{args.echo}`" in read and '"hi"' in read for read in person.read), f"confirm: {person.read}")
        return person.read

    if args.confirm:
        # Nobody is asked about the others.
        await report.step("confirm", confirm)
        await report.step("fail", fail)
        return
    await report.step("tools", tools)
    if args.resources:
        await report.step("resources", resources)
    if args.updates:
        await report.step("updates", updates)
    await report.step("echo", echo)
    await report.step("fail", fail)
    await report.step("progress", progress)
    await report.step("cancel", cancel)
    await report.step("wrongType", wrong_type)
    await report.step("unknownTool", unknown_tool)
    await report.step("last", lambda: echo("still here"))


async def run(args: argparse.Namespace) -> int:
    report = Report("http" if args.http else "stdio", args.era)
    if args.oauth:
        import oauth

        server = oauth.transport(args.http, args.oauth, args.issuer)
    elif args.authorization:
        from mcp.client.streamable_http import streamable_http_client
        from mcp.shared._httpx_utils import create_mcp_http_client

        shown = create_mcp_http_client(headers={"Authorization": args.authorization})
        server = streamable_http_client(args.http, http_client=shown)
    else:
        server = args.http or StdioServerParameters(command=args.stdio[0], args=args.stdio[1:])
    try:
        with anyio.fail_after(WHOLE_RUN_SECONDS):
            person = Person()
            asked = person.asked if args.confirm else None
            told = report.told
            async with Client(server, mode=args.era, message_handler=told, elicitation_callback=asked) as client:
                await scenario(client, args, report, person)
    except Exception as error:  # noqa: BLE001 - a failed connection is a result too
        report.failures.append(f"connection: {cause(error)}")
    return report.finish()


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--era", choices=["auto", "legacy"], default="auto")
    parser.add_argument("--spins", type=int, default=1, help="how many running calls to cancel, one after another")
    for name, tool in [
        ("echo", "echo_echo"),
        ("fail", "outcomes_fail"),
        ("progress", "progress_work"),
        ("spin", "outcomes_spin"),
    ]:
        parser.add_argument(f"--{name}", default=tool, metavar="TOOL")
    parser.add_argument("--resources", action="store_true", help="list and read those of the test")
    parser.add_argument("--updates", action="store_true", help="subscribe to one that changes all the time")
    parser.add_argument("--confirm", action="store_true", help="only call tools that ask, and one that does not")
    parser.add_argument("--oauth", choices=["code", "credentials"], help="get a token of --issuer, and how")
    parser.add_argument("--issuer", metavar="URL")
    parser.add_argument("--authorization", metavar="HEADER", help="shown with each request over HTTP")
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--http", metavar="URL")
    where.add_argument("--stdio", nargs=argparse.REMAINDER, metavar="COMMAND")
    args = parser.parse_args()
    if args.stdio is not None and not args.stdio:
        parser.error("--stdio: no command")
    return anyio.run(run, args)


if __name__ == "__main__":
    sys.exit(main())
