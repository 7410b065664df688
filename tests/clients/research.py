"""The research team: an orchestrator posts tasks, three agents claim them, find sources, analyse, and write a report."""

import json
import sys

from mcp import MCPError
from member import Member, Refused, main

# What each kind of task is, and who does it.
KINDS = {"researcher": {"sources"}, "analyst": {"sources", "analysis"}, "writer": {"sources", "report"}}
SUBJECTS = ["wind", "sun", "tides", "storage", "grids", "prices"]
# What each is not allowed, which is to be as if it were not there.
FORBIDDEN = {
    "orchestrator": ["claim_task", "complete_task", "save_ticket"],
    "researcher": ["post_task", "cancel_task", "delete_context", "save_ticket"],
    "analyst": ["post_task", "cancel_task", "delete_context", "add_analysis"],
    "writer": ["post_task", "cancel_task", "delete_context", "escalate"],
}


async def refused(member: Member) -> None:
    """What is not one's own is neither listed nor called."""
    listed = await member.tools()
    for tool in FORBIDDEN[member.name]:
        assert tool not in listed, f"{tool} is listed"
        try:
            await member.call(tool)
        except MCPError as error:
            member.tell(did="was refused", tool=tool, code=error.code)
        else:
            raise AssertionError(f"{tool} was called")
    other = "writer" if member.name != "writer" else "analyst"
    try:
        await member.call("write_context", agent_id=other, key="report", value='"forged"')
    except Refused as error:
        member.tell(did="was refused", tool="write_context", said=str(error))
    else:
        raise AssertionError("another's area was written")


async def orchestrate(member: Member, _: int) -> None:
    await refused(member)
    # The team is there.
    while (await member.call("find_agents", capabilities=["sources"]))["total"] < 3:
        await member.call("receive_messages", wait_seconds=1)
    found = await member.call("find_agents", capabilities=["sources"])
    member.tell(did="found", agents=[agent["name"] for agent in found["agents"]])
    sources = [(await member.call("post_task", title=f"sources: {subject}"))["id"] for subject in SUBJECTS]
    analysis = await member.call("post_task", title="analysis: energy", depends_on=sources, priority=8)
    report = await member.call("post_task", title="report: energy", depends_on=[analysis["id"]], priority=9)
    member.tell(did="posted", sources=sources, analysis=analysis["id"], report=report["id"])
    await member.call("send_message", to="topic:work", body="there is work")
    while True:
        received = await member.call("receive_messages", wait_seconds=10)
        for message in received["messages"]:
            await member.call("acknowledge_message", ids=[message["id"]])
        if any(m["sender"] == "writer" and m["body"] == "the report is written" for m in received["messages"]):
            break
    task = await member.call("get_task", task_id=report["id"])
    read = (await member.call("read_context", agent_id="writer", key="report"))["result"]
    assert task["state"] == "completed" and task["claimant"] == read["writer"] == "writer", (task, read)
    member.tell(did="read the report", writer=read["writer"], version=read["version"], report=json.loads(read["value"]))
    await member.call("send_message", to="all", body="done")


async def take(member: Member) -> bool:
    """Claims one task of a kind that is one's own, and does it; whether there was one."""
    for pending in (await member.call("get_pending_tasks", orchestrator_id="orchestrator"))["tasks"]:
        kind, subject = pending["title"].split(": ")
        if kind not in KINDS[member.name]:
            continue
        try:
            claimed = (await member.call("claim_task", task_id=pending["id"], lease_seconds=30))["result"]
        except Refused:
            continue
        member.tell(did="claimed", task=claimed["id"], title=claimed["title"])
        result = await do(member, kind, subject)
        await member.call("complete_task", task_id=claimed["id"], result=result, attempt=claimed["attempt"])
        member.tell(did="completed", task=claimed["id"], result=result)
        if kind == "report":
            await member.call("send_message", to="orchestrator", body="the report is written", priority="high")
        else:
            # What waited for it may be free now.
            await member.call("send_message", to="topic:work", body=f"{claimed['id']} is done")
        return True
    return False


async def do(member: Member, kind: str, subject: str) -> str:
    if kind == "sources":
        value = json.dumps({"subject": subject, "sources": [f"https://example.com/{subject}"]})
        written = await member.call("write_context", key=f"sources/{subject}", value=value, if_version=0)
        return f"sources/{subject}, version {written['version']}"
    if kind == "analysis":
        listed = (await member.call("list_context", prefix="sources/"))["items"]
        by = {item["key"].removeprefix("sources/"): item["writer"] for item in listed}
        assert sorted(by) == sorted(SUBJECTS), by
        await member.call("write_context", key="analysis", value=json.dumps({"found_by": by}), if_version=0)
        return f"analysis of {len(by)} sources"
    analysis = json.loads((await member.call("read_context", key="analysis"))["result"]["value"])
    report = {"title": "Energy", "sources": sorted(analysis["found_by"]), "by": sorted(set(analysis["found_by"].values()))}
    await member.call("write_context", agent_id=member.name, key="report", value=json.dumps(report))
    return "the report is at `report` of the writer"


async def work(member: Member, _: int) -> None:
    await refused(member)
    await member.call("receive_messages", topics=["work"])
    await member.call("register_agent", capabilities=sorted(KINDS[member.name]), ttl_seconds=60)
    done = False
    while not done:
        while await take(member):
            pass
        received = await member.call("receive_messages", wait_seconds=10)
        ids = [message["id"] for message in received["messages"]]
        if ids:
            await member.call("acknowledge_message", ids=ids)
        await member.call("heartbeat", load=0)
        done = any(m["sender"] == "orchestrator" and m["body"] == "done" for m in received["messages"])
    gone = await member.call("deregister_agent")
    member.tell(did="left", deregistered=gone["deregistered"])


if __name__ == "__main__":
    sys.exit(main({"orchestrate": orchestrate, "work": work}))
