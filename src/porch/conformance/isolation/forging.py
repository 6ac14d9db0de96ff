"""What is not a path's: links that are dead, and bodies that name another's workspace, person or object."""

from collections.abc import Iterator, Sequence
from typing import Any

from porch.conformance.isolation.belongings import FILE_PART, Belongings
from porch.conformance.isolation.callers import Caller
from porch.conformance.isolation.doors import Door, filled
from porch.conformance.isolation.matrix import ask, request_of, spoken
from porch.conformance.isolation.report import Report
from porch.conformance.isolation.web import Person, Web, encoded

GONE = (404, 410)
HTML = {"Accept": "text/html"}


async def try_links(web: Web, treasure: Belongings, hers: Belongings, report: Report) -> None:
    """A closed share, a file beside an open one, a revoked invitation: as nobody."""
    message, other = treasure.values["message"][0], hers.values["message"][0]
    dead = treasure.dead_link
    paths = [
        ("a closed link", dead),
        ("a closed link", f"{dead}/messages/{message}/parts/{FILE_PART}"),
        ("another's link", f"{hers.open_link}/messages/{message}/parts/{FILE_PART}"),
        ("another's link", f"{treasure.open_link}/messages/{other}/parts/{FILE_PART}"),
    ]
    if treasure.dead_invitation:
        paths.append(("a revoked invitation", treasure.dead_invitation))
    words = {**treasure.shared, **treasure.private}
    for name, path in paths:
        answer = await ask(web, "GET", path, HTML, b"")
        whys = (
            []
            if answer.status in GONE
            else [f"{name}: GET {path} is answered with {answer.status}, not 404."]
        )
        # The workspace's name stands on the page of an invitation, also where that says that it is revoked.
        seen = {
            key: word for key, word in words.items() if name != "a revoked invitation" or "name" not in key
        }
        whys += [f"{name}: GET {path} tells {told}." for told in spoken(answer, seen)]
        report.add("links", "nobody", ("GET", path), whys)
    for name, path in (
        ("the link", treasure.open_link),
        ("its file", f"{treasure.open_link}/messages/{message}/parts/{FILE_PART}"),
    ):
        answer = await ask(web, "GET", path, HTML, b"")
        whys = (
            []
            if answer.status == 200
            else [f"{name} is answered with {answer.status}: dead ones prove nothing."]
        )
        report.add("the owner's own", "nobody", ("GET", path), whys)


def ownership(owner: Person, treasure: Belongings) -> dict[str, str]:
    """Every name under which a body might say whose something is."""
    workspace, user = owner.workspace, owner.user
    return {
        **dict.fromkeys(("workspace", "workspace_id", "tenant", "tenant_id"), workspace),
        **dict.fromkeys(("user", "user_id", "owner", "owner_id", "participant", "participant_id"), user),
        **dict.fromkeys(("created_by", "author", "author_id", "principal", "actor"), user),
        "agent_id": treasure.second["agent"],
        "conversation_id": treasure.first["conversation"],
        "id": treasure.first["conversation"],
        "role": "owner",
    }


async def try_bodies(
    web: Web, caller: Caller, doors: Sequence[Door], owned: tuple[Person, Belongings], report: Report
) -> None:
    """A stranger writes to what is their own, and names the owner in it."""
    owner, treasure = owned
    assert caller.own is not None
    for door in doors:
        if door.shape.body is None or door.page or door.unknown or door.home:
            continue
        own = dict(caller.own.first)
        if "approval" in door.parameters:
            own["run"] = own["paused"]
        for name, body, sent in _forged(door, own, owner, treasure):
            path, headers, _ = next(request_of(caller, door, own))
            answer = await ask(
                web, door.method, path, {**headers, "Content-Type": "application/json"}, encoded(body)
            )
            where = f"{door.method} {path} with {name!r} of the owner's"
            whys = [
                f"{where}: the answer tells {told}."
                for told in spoken(answer, {**treasure.shared, **treasure.private})
            ]
            if answer.status >= 500 or answer.status == 0:
                whys.append(f"{where} is answered with {answer.status}.")
            if answer.status // 100 == 2 and sent.encode() in answer.body and name != "role":
                whys.append(f"{where} is taken: the answer holds it.")
            report.add("ownership in bodies", caller.name, (door.method, path), whys)


def _forged(
    door: Door, own: dict[str, str], owner: Person, treasure: Belongings
) -> Iterator[tuple[str, Any, str]]:
    body = filled(door.shape.body, own)
    for name, value in ownership(owner, treasure).items():
        if name not in body:
            # OpenAI's `user` is a word of the client's own, which comes back to it.
            echoed = name == "user" and door.kind == "OpenAI"
            yield name, {**body, name: value}, "\0" if echoed else value
    for name, placeholder in (door.shape.refers or {}).items():
        # What a client calls its chat is the client's own, and comes back to it.
        value = filled(placeholder, treasure.first)
        yield name, {**body, name: value}, value if name not in ("threadId", "id") else "\0"
