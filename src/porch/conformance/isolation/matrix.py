"""The matrix: each caller at each door with another's objects in hand, and what is found in the answers."""

import asyncio
import base64
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import quote

import msgspec

from porch.conformance.isolation.belongings import Belongings
from porch.conformance.isolation.callers import Caller, Due, due
from porch.conformance.isolation.doors import PERSONAL, Door, filled
from porch.conformance.isolation.report import Report
from porch.conformance.isolation.web import FORM, Answer, Person, Web, encoded
from porch.contract.errors import PorchError

ANSWER_SECONDS = 10.0
# What differs from one look to the next though nobody changed anything.
PASSING = frozenset({"last_used_at", "last_used_from", "request_id", "resets_at", "exported_at"})
# The last thing that a path names and that is one person's or one workspace's: what stands before it may be one's own.
LEAVES = PERSONAL | {"user", "invitation"}


# What tells of others, or of what was refused meanwhile, is not the same a moment later.
GROWING = {"/api/v1/models", "/api/v1/workspaces/{ws}/audit", "/audit"}


def fillings(caller: Caller, door: Door, treasure: Belongings) -> Iterator[dict[str, str]]:
    """The names under which a caller tries another's objects at a door."""
    seen: set[str] = set()
    for values in _fillings(caller, door, treasure):
        if "approval" in door.parameters:
            values["run"] = values["paused"]
        key = door.fill(values) + str(filled([door.shape.body, door.shape.form], values))
        if key not in seen:
            seen.add(key)
            yield values


def _fillings(caller: Caller, door: Door, treasure: Belongings) -> Iterator[dict[str, str]]:
    yield treasure.first
    if caller.standing not in ("elsewhere", "inside"):
        return
    yield treasure.second
    if caller.own is None or not door.names - {"ws"}:
        return
    for theirs in (treasure.first, treasure.second):
        yield {**theirs, "ws": caller.own.first["ws"]}
    leaves = [name for name in door.parameters if name in LEAVES]
    if len([name for name in door.parameters if name in door.names]) > 1 and leaves:
        at = door.parameters.index(leaves[-1])
        yield {**caller.own.first, **{name: treasure.first[name] for name in door.parameters[at:]}}


def request_of(
    caller: Caller, door: Door, values: dict[str, str]
) -> Iterator[tuple[str, dict[str, str], bytes]]:
    """The requests that go through a door with these objects: path, headers, body."""
    shape, headers = door.shape, dict(caller.headers)
    body = b""
    if shape.form is not None:
        fields = filled(shape.form, values)
        body = "&".join(f"{key}={quote(value)}" for key, value in fields.items()).encode()
        headers["Content-Type"] = FORM
    elif shape.body is not None:
        body = encoded(filled(shape.body, values))
        headers["Content-Type"] = "application/json"
    if door.page:
        headers["Accept"] = "text/html, application/json;q=0.9"
    for behind, extra in shape.ways:
        yield door.fill(values) + filled(behind, values), {**headers, **extra}, body


async def ask(web: Web, method: str, path: str, headers: Mapping[str, str], body: bytes) -> Answer:
    """One request; one that does not end, or breaks, has the status 0."""
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            return await web.ask(method, path, headers, body)
    except TimeoutError:
        return Answer(0, (), b"it did not end")
    except PorchError as error:
        return Answer(0, (), error.message.encode())


async def try_caller(
    web: Web, caller: Caller, doors: Sequence[Door], treasure: Belongings, report: Report, at_once: int = 1
) -> None:
    """This caller at every door."""
    room = asyncio.Semaphore(at_once)

    async def one(door: Door, what: Due, path: str, headers: dict[str, str], body: bytes) -> None:
        async with room:
            answer = await ask(web, door.method, path, headers, body)
        report.add(
            door.kind, caller.name, (door.method, path), judge(caller, door, what, path, answer, treasure)
        )

    async with asyncio.TaskGroup() as group:
        for door in doors:
            what = None if door.unknown else due(caller, door)
            if what is None:
                continue
            for values in fillings(caller, door, treasure):
                for path, headers, body in request_of(caller, door, values):
                    group.create_task(one(door, what, path, headers, body))


def judge(
    caller: Caller, door: Door, what: Due, path: str, answer: Answer, treasure: Belongings
) -> list[str]:
    """What is wrong with an answer, in sentences."""
    whys: list[str] = []
    head = f"{caller.name[:1].upper()}{caller.name[1:]}: {door.method} {path} is answered with"
    away = what.sent_away and answer.status == 303 and answer.header("location").startswith("/sign-in")
    if answer.status >= 500 or answer.status == 0:
        shown = (
            answer.body[:120].decode("utf-8", "replace")
            if answer.status == 0
            else "an error of the server's own"
        )
        whys.append(f"{head} {answer.status} ({shown}).")
    elif what.statuses and answer.status not in what.statuses and not away:
        owed = " or ".join(str(status) for status in sorted(what.statuses))
        whys.append(f"{head} {answer.status}, not {owed}.")
    words = treasure.private if what.private_only else treasure.shared | treasure.private
    if told := spoken(answer, words):
        whys.append(f"{head} {', '.join(told)} of the owner's.")
    return whys


def spoken(answer: Answer, words: Mapping[str, str]) -> list[str]:
    """Which of the words an answer holds, in its body or a header, as they are or as base64."""
    text = answer.body + "\n".join(f"{name}: {value}" for name, value in answer.headers).encode()
    return [name for name, word in words.items() if any(form in text for form in _forms(word))]


def _forms(word: str) -> tuple[bytes, ...]:
    return word.encode(), base64.b64encode(word.encode()).rstrip(b"=")[:-2]


# ---------------------------------------------------------------- the owner's own


async def look(
    web: Web, owner: Person, doors: Sequence[Door], treasure: Belongings, *, alone: bool
) -> dict[str, Any]:
    """All that the owner can see of their own, by path. `alone`: of what was made here, where there is more."""
    caller = owner_of(owner)
    seen: dict[str, Any] = {}
    for door in doors:
        if door.method != "GET" or door.page or door.home or door.unknown or "rest" in door.parameters:
            continue
        if door.path in GROWING or (alone and not door.names - {"ws"}):
            continue
        values = next(fillings(caller, door, treasure))
        for path, headers, body in request_of(caller, door, values):
            if "?q=" in path:
                continue  # what is found grows by itself for a moment, as messages are indexed
            answer = await ask(web, "GET", path, headers, body)
            seen[path] = answer.status, _lasting(answer)
    return seen


def owner_of(owner: Person) -> Caller:
    """The owner with the token for everything."""
    headers = {"Authorization": f"Bearer {owner.token}", "Accept": "application/json"}
    return Caller("owner", owner.name, "inside", headers, frozenset({"admin:*"}), owner=True)


def _lasting(answer: Answer) -> Any:
    try:
        return _without(msgspec.json.decode(answer.body))
    except (msgspec.DecodeError, UnicodeDecodeError):
        return answer.body


def _without(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without(each) for key, each in value.items() if key not in PASSING}  # pyright: ignore[reportUnknownVariableType]  # JSON
    if isinstance(value, list):
        return [_without(each) for each in value]  # pyright: ignore[reportUnknownVariableType]  # JSON
    return value


async def prove_reading(
    web: Web, owner: Person, doors: Sequence[Door], treasure: Belongings, report: Report
) -> set[str]:
    """The owner opens every door that reads; answers the words that were seen.

    What refuses even them proves nothing when it refuses others.
    """
    told: set[str] = set()
    for door in doors:
        if door.method == "GET" and not door.unknown and not door.home and "rest" not in door.parameters:
            told |= await _open(web, owner, door, treasure, report)
    return told


async def prove_writing(
    web: Web, owner: Person, doors: Sequence[Door], treasure: Belongings, report: Report
) -> None:
    """The owner does what everybody else was refused, what destroys last."""
    writing = [door for door in doors if door.method != "GET" and door.names and not door.shape.expects]
    for door in sorted(writing, key=lambda each: each.shape.last):
        if not (door.shape.once or door.unknown or door.home or "rest" in door.parameters):
            await _open(web, owner, door, treasure, report)


async def _open(web: Web, owner: Person, door: Door, treasure: Belongings, report: Report) -> set[str]:
    caller, told = owner_of(owner), set[str]()
    values = next(fillings(caller, door, treasure))
    for path, given, body in request_of(caller, door, values):
        headers = given
        if (door.page or door.shape.session) and owner.cookies:
            headers = {**given, "Cookie": owner.cookie, "X-CSRF-Token": owner.csrf}
            headers |= {"Sec-Fetch-Site": "same-origin", "Origin": web.origin}
            del headers["Authorization"]
        answer = await ask(web, door.method, path, headers, body)
        told |= set(spoken(answer, treasure.shared | treasure.private))
        away = answer.header("location").startswith("/sign-in?")
        refused = answer.status in (0, 401, 403, 404) or answer.status >= 500 or away
        why = f"The owner: {door.method} {path} is answered with {answer.status}, so that its refusals prove nothing."
        report.add("the owner's own", "the owner", (door.method, path), [why] if refused else None)
    return told
