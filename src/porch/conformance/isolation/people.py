"""Throw-away people: how they come in, and what they leave behind."""

import asyncio
import os
from dataclasses import dataclass, field

import msgspec

from porch.conformance.isolation.belongings import Belongings
from porch.conformance.isolation.report import Report
from porch.conformance.isolation.web import Person, Refused, Web

PATH = "/api/v1/workspaces"


@dataclass
class People:
    """Those of one run of the kit. With the operator's token, people come by invitation."""

    web: Web
    operator: Person | None = None
    alone: bool = False
    made: list[tuple[Person, Belongings]] = field(default_factory=list[tuple[Person, Belongings]])
    known: list[Person] = field(default_factory=list[Person])

    async def owner(self, name: str) -> Person:
        """Somebody with a workspace of their own, and a token for all of it. Raises Refused."""
        door = "/sign-up"
        if self.operator is not None and await self._needs_invitation():
            door = await invitation(self.operator, "viewer")
        person = await self._sign_up(name, door)
        if self.operator is not None and door != "/sign-up":
            await self.operator.ask("DELETE", f"{self.operator.path}/members/{person.user}")
        await _settle(person)
        person.token = await _mint(person, person.handle)
        return person

    async def invited(self, name: str, owner: Person, role: str) -> Person:
        """Somebody who joins the owner's workspace besides having one. Raises Refused."""
        person = await self._sign_up(name, await invitation(owner, role))
        await _settle(person)
        return person

    async def back(self, name: str, owner: Person, role: str) -> Person:
        """The same person once more, who was removed. Raises Refused."""
        person = next(each for each in self.known if each.name == name)
        answer = await person.submit(await invitation(owner, role), {})
        if answer.status != 303:
            raise Refused(f"{name} could not join again: {answer.refusal}")
        return person

    async def token_in(self, person: Person, owner: Person) -> str:
        """A token of somebody in another's workspace."""
        answer = await person.submit("/workspaces/switch", {"workspace": owner.handle})
        await person.browse("GET", "/")
        if answer.status != 303:
            raise Refused(f"{person.name} could not switch: {answer.refusal}")
        return await _mint(person, owner.handle)

    async def leave(self, report: Report) -> None:
        """Take away what can be taken away, and note what cannot."""
        for person, own in self.made:
            await person.ask("POST", f"/api/v1/runs/{own.values['paused'][0]}/cancel")
            for name in own.made:
                if not await _deleted(person, name):
                    report.left.append(f"the agent @{person.handle}/{name}")
            for token in person.tokens:
                await person.ask("DELETE", f"{person.path}/tokens/{token}")
        report.left += [f"@{person.handle} and its person" for person in self.known]

    async def _needs_invitation(self) -> bool:
        return (await self.web.ask("GET", "/sign-up", {"Accept": "text/html"}, b"")).status == 403

    async def _sign_up(self, name: str, door: str) -> Person:
        person = Person(self.web, name)
        person.login = f"isolation-{name}-{os.urandom(4).hex()}"
        fields = {"login": person.login, "name": person.login, "password": os.urandom(18).hex()}
        answer = await person.submit(door, fields)
        if answer.status != 303 or not person.cookies:
            raise Refused(f"{name} could not sign up at {door.partition('_inv_')[0]}: {answer.status}.")
        self.known.append(person)
        return person


async def _deleted(person: Person, name: str) -> bool:
    """Whether an agent is gone; one whose run is just being stopped goes a moment later."""
    for _ in range(20):
        status = (await person.ask("DELETE", f"{person.path}/agents/{name}")).status
        if status in (204, 404):
            return True
        if status != 409:
            return False
        await asyncio.sleep(0.1)
    return False


async def find_people(web: Web, token: str | None) -> People:
    """How people come in here: openly, by the operator's invitation, or not at all. Raises Refused."""
    if (await web.ask("GET", "/sign-up", {"Accept": "text/html"}, b"")).status == 200:
        return People(web)
    if token is None:
        raise Refused(
            "Nobody can sign up at this server by themselves. Give a token of its operator (--token, or PORCH_TOKEN): "
            "throw-away people are then invited, or, where the server is one person's, what can be is checked alone."
        )
    operator = Person(web, "the operator")
    operator.token = token
    me = (await operator.must("GET", "/api/v1/me")).told
    operator.user, reached = me["user"]["id"], me["workspaces"][0]
    operator.handle, operator.workspace = reached["handle"], reached["id"]
    asked = await operator.ask("POST", f"{operator.path}/invitations", {"role": "viewer", "expires_in": 3600})
    if asked.status == 403 and asked.told.get("code") == "multi_user_off":
        return People(web, operator, alone=True)
    if asked.status != 201:
        raise Refused(f"The token cannot invite the throw-away people: {asked.refusal}")
    await operator.ask("DELETE", f"{operator.path}/invitations/{asked.told['id']}")
    return People(web, operator)


async def _settle(person: Person) -> None:
    """Learn who one is here."""
    await person.browse("GET", "/account")
    told = (await person.browse("GET", "/api/v1/me")).told
    begins = person.login.replace(".", "-")
    own = next((each for each in told.get("workspaces", ()) if each["handle"].startswith(begins)), None)
    if own is None:
        raise Refused(f"/api/v1/me tells of no workspace of {person.login}.")
    person.user, person.session = told["user"]["id"], told["credential"]
    person.handle, person.workspace = own["handle"], own["id"]
    await person.submit("/workspaces/switch", {"workspace": person.handle})
    await person.browse("GET", "/account")


async def _mint(person: Person, workspace: str) -> str:
    body = msgspec.json.encode({"name": "isolation", "scopes": await scopes_of(person), "expires_in": 7200})
    answer = await person.browse("POST", f"{PATH}/{workspace}/tokens", body, "application/json")
    if answer.status != 201:
        raise Refused(f"No token could be made for {person.name}: {answer.refusal}")
    return str(answer.told["token"])


async def scopes_of(person: Person) -> list[str]:
    """What somebody may do in a workspace, in which their browser stands."""
    return list((await person.browse("GET", "/api/v1/me")).told.get("scopes", ()))


async def invitation(owner: Person, role: str) -> str:
    """The path of a link into a workspace. Raises Refused."""
    told = (await owner.must("POST", f"{owner.path}/invitations", {"role": role, "expires_in": 3600})).told
    return "/join/" + str(told["url"]).rpartition("/")[2]
