"""Finding a customer in a CSV file: what is an e-mail address, and what is a record. Knows nothing of the host."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

# What an address may have (RFC 5321, 4.5.3.1), in characters.
MAX_EMAIL = 254
MAX_LOCAL = 64
# Bytes of the file that are looked at: some eighty thousand customers, well within the time of a call.
MAX_FILE = 8 << 20
# Bytes and lines of a record. A quote that nobody closes must not take the rest of the file for a note.
MAX_RECORD = 16 << 10
MAX_LINES = 32
# Characters of a field that are handed out.
MAX_FIELD = 2000

# Dot-atoms, as nearly all addresses are, letters of all alphabets included (RFC 6531). Quoted local parts and addresses of
# numbers are not for customers.
_ATEXT = r"[^\s\x00-\x20\x7f-\xa0\"(),:;<>@\[\\\].]+"
_LABEL = r"[^\W_](?:[\w-]{0,61}[^\W_])?"
_EMAIL = re.compile(rf"{_ATEXT}(?:\.{_ATEXT})*@(?:{_LABEL}\.)+{_LABEL}")


class Refused(Exception):
    """What was asked cannot be answered; the message is a sentence for a model to read."""


class Customer(NamedTuple):
    email: str
    name: str
    company: str | None
    plan: str | None
    since: str | None
    notes: str | None


def address(text: str) -> str:
    """The address in the form in which addresses are compared."""
    text = text.strip()
    if len(text) > MAX_EMAIL:
        raise Refused(f"an e-mail address has at most {MAX_EMAIL} characters, found {len(text)}")
    if not _EMAIL.fullmatch(text) or len(text.partition("@")[0]) > MAX_LOCAL or "_" in text.rpartition("@")[2]:
        raise Refused("expected an e-mail address, as `ada@example.com`")
    return text.casefold()


def find(file: BinaryIO, email: str) -> Customer | None:
    """The first customer with this address, in a CSV file in UTF-8 whose first line names the columns."""
    wanted = address(email)
    header: dict[str, int] = {}
    width = 0
    damaged = False
    for text, is_whole in _records(file):
        if not header:
            names = _fields(text) or []
            header, width = _columns(names), len(names)
            if "email" not in header:
                raise Refused("the list of customers has no column `email`: tell the operator")
            continue
        # A cheap look first: of a hundred thousand records one is parsed.
        if wanted not in text.casefold():
            continue
        fields = _fields(text) if is_whole else None
        # Of a record that is too long nobody knows which comma is one too many.
        if fields is None or len(fields) > width:
            damaged = True
            continue
        fields += [""] * (width - len(fields))
        if fields[header["email"]].strip().casefold() == wanted:
            return _customer(fields, header)
    if not header:
        raise Refused("the list of customers has no column `email`: tell the operator")
    if damaged:
        raise Refused("a line of the list that may be this customer's is damaged: tell the operator")
    return None


def _customer(fields: list[str], columns: dict[str, int]) -> Customer:
    def field(name: str) -> str:
        text = fields[columns[name]].strip() if name in columns else ""
        # Characters that move a cursor are for terminals; lines and tabs are kept.
        plain = "".join(c if c in "\n\t" or c.isprintable() else " " for c in text.replace("\r\n", "\n"))
        return plain[:MAX_FIELD]

    others = (field(name) or None for name in ("company", "plan", "since", "notes"))
    return Customer(field("email"), field("name"), *others)


def _columns(header: list[str] | None) -> dict[str, int]:
    names = [name.strip().casefold() for name in header or []]
    # Of two columns of one name the first counts.
    return {name: at for at, name in reversed(list(enumerate(names)))}


def _records(file: BinaryIO) -> Iterator[tuple[str, bool]]:
    """The text of each record, and whether it is whole: its quotes are closed, within the bounds."""
    # Lines that were read ahead for a record that turned out to be none.
    waiting: list[str] = []
    lines = _lines(file)

    def line() -> str | None:
        return waiting.pop(0) if waiting else next(lines, None)

    while (first := line()) is not None:
        if not first.strip():
            continue
        if first.count('"') % 2 == 0:
            yield first, len(first) <= MAX_RECORD
            continue
        # Within quotes a line may end, and an even number of quotes closes what was opened.
        taken = [first]
        is_open = True
        while is_open and len(taken) < MAX_LINES and sum(map(len, taken)) <= MAX_RECORD:
            more = line()
            if more is None:
                break
            taken.append(more)
            is_open = is_open != bool(more.count('"') % 2)
        text = "".join(taken)
        if is_open or len(text) > MAX_RECORD or _fields(text) is None:
            # Only its first line is broken for sure: the others may be whole records.
            waiting[:0] = taken[1:]
            yield first, False
        else:
            yield text, True


def _fields(text: str) -> list[str] | None:
    try:
        rows = list(csv.reader([text], strict=True))
    except csv.Error:
        return None
    return rows[0] if len(rows) == 1 else None


def _lines(file: BinaryIO) -> Iterator[str]:
    """The lines, each with its end; one that is too long comes in parts that are no record."""
    read = 0
    # One byte more than a record may have, so that what is too long is told from what just fits.
    while line := file.readline(MAX_RECORD + 1):
        read += len(line)
        if read > MAX_FILE:
            raise Refused(f"the list of customers is larger than the {MAX_FILE >> 20} MiB that are looked at: tell the operator")
        # A byte order mark is how some programs begin a file in UTF-8.
        start = b"\xef\xbb\xbf" if read == len(line) else b""
        while len(line) > MAX_RECORD and not line.endswith(b"\n"):
            # The rest of the line goes with it.
            rest = file.readline(MAX_RECORD + 1)
            read += len(rest)
            if not rest or rest.endswith(b"\n") or read > MAX_FILE:
                break
        yield line.removeprefix(start).decode("utf-8", "replace")
