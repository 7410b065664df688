"""The support team: analysts look at each ticket at the same time, the router reads what all found and ends it."""

import json
import sys

from member import Member, Refused, main

ANALYSTS = 4
# A member that is killed does not acknowledge: after so long another of its name gets the message.
LEASE_SECONDS = 10


async def open_tickets(member: Member, count: int) -> None:
    """Opens so many tickets, and says so to those who follow them."""
    for at in range(count):
        body = "this is urgent" if at % 5 == 0 else "where is my invoice"
        ticket = await member.call(
            "save_ticket", ticket_id=f"T-{at:04}", customer="ada@example.com", subject="a question", body=body
        )
        sent = await member.call("send_message", to="topic:tickets", body=ticket["ticket_id"])
        member.tell(did="opened", ticket=ticket["ticket_id"], analysts=sent["recipients"])


async def analyse(member: Member, _: int) -> None:
    """Until it is ended: there is always a next ticket."""
    aspect = member.name.removeprefix("analyst-")
    await member.call("receive_messages", topics=["tickets"])
    member.tell(did="follows", topic="tickets")
    while True:
        received = await member.call("receive_messages", wait_seconds=10, limit=5, lease_seconds=LEASE_SECONDS)
        for message in received["messages"]:
            ticket = await member.call("get_ticket", ticket_id=message["body"])
            finding = {"words": len(ticket["body"].split()), "urgent": "urgent" in ticket["body"]}
            try:
                await member.call(
                    "add_analysis", ticket_id=ticket["ticket_id"], aspect=aspect, finding=json.dumps(finding), confidence=90
                )
                member.tell(did="analysed", ticket=ticket["ticket_id"], redelivered=message["redelivered"])
            except Refused as error:
                # It came again, and the ticket has ended meanwhile.
                if "takes no more analyses" not in str(error):
                    raise
            await member.call("send_message", to="router", body=ticket["ticket_id"])
        ids = [message["id"] for message in received["messages"]]
        if ids:
            await member.call("acknowledge_message", ids=ids)


async def route(member: Member, count: int) -> None:
    """Until so many tickets have ended."""
    ended: set[str] = set()
    while len(ended) < count:
        received = await member.call("receive_messages", wait_seconds=10, limit=40, lease_seconds=LEASE_SECONDS)
        for name in dict.fromkeys(message["body"] for message in received["messages"]):
            if name not in ended and await end(member, name):
                ended.add(name)
        ids = [message["id"] for message in received["messages"]]
        if ids:
            await member.call("acknowledge_message", ids=ids)
    member.tell(did="finished", tickets=len(ended))


async def end(member: Member, name: str) -> bool:
    """Ends a ticket that all have looked at; whether it has ended."""
    while True:
        found = await member.call("get_all_analysis", ticket_id=name)
        if found["state"] in ("resolved", "escalated"):
            return True
        if len({item["analyst"] for item in found["items"]}) < ANALYSTS:
            return False
        urgent = any(json.loads(item["finding"])["urgent"] for item in found["items"])
        try:
            if urgent:
                await member.call("escalate", ticket_id=name, reason="urgent", analyses=found["total"])
            else:
                text = f"answered, after {len(found['items'])} analyses"
                await member.call("save_resolution", ticket_id=name, resolution=text, analyses=found["total"])
        except Refused as error:
            # Another analysis came since, or the first try was done after all.
            if "read them with" not in str(error) and "already" not in str(error):
                raise
            continue
        member.tell(did="escalated" if urgent else "resolved", ticket=name)
        return True


if __name__ == "__main__":
    sys.exit(main({"open": open_tickets, "analyse": analyse, "route": route}))
