"""All of it in order: throw-away tenants, the callers, every door, and whether anything changed."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from porch.conformance.isolation import callers, forging, matrix
from porch.conformance.isolation.belongings import Belongings, furnish
from porch.conformance.isolation.callers import Caller
from porch.conformance.isolation.doors import Door, read_doors
from porch.conformance.isolation.people import People
from porch.conformance.isolation.report import Report
from porch.conformance.isolation.web import Person, Refused, Web

# For how long a process may still take a token that was revoked, or a role that was lowered, and a little more.
REMEMBERED_SECONDS = 1.2
Tell = Callable[[str], None]


@dataclass
class Case:
    """One server's."""

    web: Web
    people: People
    doors: list[Door] = field(default_factory=list[Door])
    report: Report = field(default_factory=Report)
    remembered: float = REMEMBERED_SECONDS
    at_once: int = 1
    tell: Tell = lambda _: None


async def check(case: Case) -> Report:
    """Everything that can be checked here. Raises Refused where it cannot begin."""
    document = await case.web.ask("GET", "/openapi.json", {}, b"")
    if document.status != 200:
        raise Refused(f"/openapi.json is answered with {document.refusal}")
    case.doors, _ = read_doors(document.told)
    case.report.unchecked = [door.name for door in case.doors if door.unknown]
    case.tell("Throw-away tenants, with one object of each kind …")
    try:
        await (_check_alone(case) if case.people.alone else _check(case))
    except Refused:
        # Whoever got through a door may have taken away what the rest needs; that they got through is the news.
        if not case.report.breaches:
            raise
    finally:
        await case.people.leave(case.report)
    return case.report


async def _check(case: Case) -> None:
    web, report = case.web, case.report
    ada, eve = await case.people.owner("ada"), await case.people.owner("eve")
    treasure, hers = await furnish(ada), await furnish(eve)
    case.people.made = [(ada, treasure), (eve, hers)]
    bob = await case.people.invited("bob", ada, "runner")
    treasure.values["user"], hers.values["user"] = [ada.user], [eve.user]
    tokens = await _dying(case, ada)
    case.tell("What the owner reads …")
    told = await matrix.prove_reading(web, ada, case.doors, treasure, report)
    for name in sorted({*treasure.shared, *treasure.private} - told):
        why = f"The owner was never shown {name}, so that nobody else's not seeing it proves nothing."
        report.add("the owner's own", "the owner", ("GET", "*"), [why])
    before = await _still(case, ada, treasure)
    await _try(case, [*callers.nobody(), *callers.strangers(eve, hers)], treasure, before, ada)
    await _try(case, [callers.forged(ada), callers.unsigned(ada)], treasure, before, ada)
    narrow = [await callers.narrowed(ada, treasure), await callers.reading(ada)]
    narrow.append(await callers.guest(ada, treasure, "guest", "a guest of another agent"))
    narrow.append(await callers.guest(eve, hers, "guest-elsewhere", "a guest of a stranger's agent"))
    narrow.append(await callers.limited(ada, treasure))
    narrow.append(await callers.bot(ada, treasure, "agent", "another agent's own token"))
    narrow.append(await callers.bot(eve, hers, "agent-elsewhere", "the token of a stranger's agent"))
    before = await _still(case, ada, treasure)
    await _try(case, narrow, treasure, before, ada)
    await _members(case, ada, bob, treasure)
    before = await _still(case, ada, treasure)
    await _try(case, _gone(tokens), treasure, before, ada)
    case.tell("Links that are dead, or another's …")
    await forging.try_links(web, treasure, hers, report)
    case.tell("Ownership in bodies, and others' objects in one's own …")
    await forging.try_bodies(web, callers.strangers(eve, hers)[0], case.doors, (ada, treasure), report)
    await _unchanged(case, ada, treasure, before, "somebody who put the owner's ids into a body")
    case.tell("What the owner does …")
    treasure.values["user"] = [(await case.people.back("bob", ada, "runner")).user]
    await matrix.prove_writing(web, ada, case.doors, treasure, report)


async def _check_alone(case: Case) -> None:
    """A server of one person: what their narrower, dead and unknown credentials, and guests, must not do."""
    ada = case.people.operator
    assert ada is not None
    treasure = await furnish(ada, alone=True)
    case.people.made = [(ada, treasure)]
    nowhere = "0" * 32
    treasure.values |= {
        name: [f"{head}_{nowhere}"]
        for name, head in (("invitation", "inv"), ("session", "ses"), ("workspace", "ws"))
    }
    treasure.values["user"] = [ada.user]
    tokens = await _dying(case, ada)
    reading = [door for door in case.doors if not door.page and door.names - {"ws"}]
    await matrix.prove_reading(case.web, ada, reading, treasure, case.report)
    some = [*callers.nobody(), await callers.narrowed(ada, treasure), await callers.reading(ada)]
    some.append(await callers.guest(ada, treasure, "guest", "a guest of another agent"))
    before = await _still(case, ada, treasure)
    await asyncio.sleep(case.remembered)
    await _try(case, [*some, *_gone(tokens)], treasure, before, ada)


def _gone(tokens: tuple[str, str]) -> list[Caller]:
    return [
        Caller("revoked", "a revoked token", "nobody", callers.bearer(tokens[0])),
        Caller("expired", "an expired token", "nobody", callers.bearer(tokens[1])),
    ]


async def _dying(case: Case, ada: Person) -> tuple[str, str]:
    """A token that is revoked, and one that ends by itself."""
    revoked, number = await callers.minted(ada, ["admin:*"])
    await ada.must("DELETE", f"{ada.path}/tokens/{number}")
    expired, _ = await callers.minted(ada, ["admin:*"], 1)
    return revoked, expired


async def _members(case: Case, ada: Person, bob: Person, treasure: Belongings) -> None:
    """A member at every door, then with a lower role, then removed."""
    token = await case.people.token_in(bob, ada)
    before = await _still(case, ada, treasure)
    await _try(
        case, await callers.member("member", "another member", bob, token, ada.handle), treasure, before, ada
    )
    await ada.must("PATCH", f"{ada.path}/members/{bob.user}", {"role": "viewer"})
    await asyncio.sleep(case.remembered)
    before = await _still(case, ada, treasure)
    lowered = await callers.member("lowered", "a member whose role was lowered", bob, token, ada.handle)
    await _try(case, lowered, treasure, before, ada)
    await ada.must("DELETE", f"{ada.path}/members/{bob.user}")
    await asyncio.sleep(case.remembered)
    before = await _still(case, ada, treasure)
    csrf = bob.csrf
    await bob.browse("GET", "/account")
    removed = [
        Caller("removed", "a removed member's token", "nobody", callers.bearer(token)),
        Caller("removed-session", "a removed member's browser", "elsewhere", callers.browser(bob)),
    ]
    await _try(case, removed, treasure, before, ada)
    stale = {**callers.browser(bob), "X-CSRF-Token": csrf}
    await _try(case, [Caller("stale", "a removed member's old page", "stale", stale)], treasure, before, ada)


async def _still(case: Case, ada: Person, treasure: Belongings) -> dict[str, Any]:
    return await matrix.look(case.web, ada, case.doors, treasure, alone=case.people.alone)


async def _try(
    case: Case, some: list[Caller], treasure: Belongings, before: dict[str, Any], ada: Person
) -> None:
    for caller in some:
        case.tell(f"{caller.name[:1].upper()}{caller.name[1:]} at {len(case.doors)} doors …")
        await matrix.try_caller(case.web, caller, case.doors, treasure, case.report, case.at_once)
        await _unchanged(case, ada, treasure, before, caller.name)


async def _unchanged(
    case: Case, ada: Person, treasure: Belongings, before: dict[str, Any], name: str
) -> None:
    after = await _still(case, ada, treasure)
    for path, seen in before.items():
        whys = None
        if after.get(path) != seen:
            whys = [f"After {name} had been at every door, the owner's GET {path} is not what it was."]
        case.report.add("nothing changed", name, ("GET", path), whys)
