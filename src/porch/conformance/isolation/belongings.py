"""What a throw-away tenant owns: one object of each kind, each with a word in it that nobody else may read."""

import base64
import os
import re
from dataclasses import dataclass, field
from typing import Any

from porch.conformance.isolation.web import Person, Refused, encoded

STREAM = "text/event-stream"
SITE = "https://isolation.example"
FILE_PART = "1"
SITE_WORD, CALL_WORD, TITLE_WORD = "a site's name", "a call's arguments", "a conversation's title"
_SESSION = re.compile(rb"/sessions/(ses_[0-9a-f]{32})/end")


@dataclass
class Belongings:
    """One tenant's objects by what paths call them, and the words that only the tenant may read.

    Of `values` each has one name or several. `shared` words are the workspace's, which all its members read.
    """

    values: dict[str, list[str]] = field(default_factory=dict[str, list[str]])
    shared: dict[str, str] = field(default_factory=dict[str, str])
    private: dict[str, str] = field(default_factory=dict[str, str])
    find: str = ""
    asking: str = ""
    other: str = ""
    other_id: str = ""
    open_link: str = ""
    dead_link: str = ""
    dead_invitation: str = ""
    made: list[str] = field(default_factory=list[str])

    @property
    def first(self) -> dict[str, str]:
        """Each object by the name that people use."""
        return {name: values[0] for name, values in self.values.items()} | {"find": self.find}

    @property
    def second(self) -> dict[str, str]:
        """Each object by its other name, where it has one: its id."""
        return {name: values[-1] for name, values in self.values.items()} | {"find": self.find}


def secret() -> str:
    """A word that nobody has said before."""
    return f"treasure{os.urandom(5).hex()}"


async def furnish(owner: Person, *, alone: bool = False) -> Belongings:
    """Make one of everything. `alone`: in a workspace that somebody lives in. Raises Refused."""
    own = Belongings(find=f"find{os.urandom(4).hex()}")
    own.values["ws"] = [owner.handle, owner.workspace]
    if not alone:
        own.shared["the workspace's name"] = secret()
        await owner.must("PATCH", owner.path, {"name": own.shared["the workspace's name"]})
    await _agents(owner, own)
    await _talk(owner, own)
    await _ask(owner, own)
    await _links(owner, own)
    own.private["a token's name"] = secret()
    token = {"name": own.private["a token's name"], "scopes": ["read:agents"], "expires_in": 3600}
    own.values["token"] = [(await owner.must("POST", f"{owner.path}/tokens", token)).told["id"]]
    owner.tokens += own.values["token"]
    if not alone:
        made = [await owner.must("POST", f"{owner.path}/invitations", {"role": "viewer"}) for _ in range(2)]
        own.values["invitation"] = [made[0].told["id"]]
        own.dead_invitation = "/join/" + str(made[1].told["url"]).rpartition("/")[2]
        await owner.must("DELETE", f"{owner.path}/invitations/{made[1].told['id']}")
        found = _SESSION.search((await owner.browse("GET", "/sessions")).body)
        if found is None:
            raise Refused(f"/sessions does not list the session of {owner.name}.")
        own.values["session"] = [found[1].decode()]
        own.values["workspace"] = [await _deleted(owner)]
    own.values |= {
        "number": ["1"],
        "span": ["1"],
        "part": [FILE_PART],
        "provider": ["nobody"],
        "passkey": ["psk_" + "0" * 32],
        "rest": ["nothing"],
    }
    return own


async def _deleted(owner: Person) -> str:
    """The id of a workspace that the owner has deleted and could have back."""
    body, handle = "application/json", f"{owner.handle[:30]}-gone"
    made = await owner.browse("POST", "/api/v1/workspaces", encoded({"handle": handle}), body)
    gone = await owner.browse("DELETE", f"/api/v1/workspaces/{handle}", b"", body)
    if (made.status, gone.status) != (201, 202):
        raise Refused(f"{owner.name} cannot delete a workspace: {made.status}, {gone.status}.")
    return made.told["id"]


async def _agents(owner: Person, own: Belongings) -> None:
    begins = f"isolation-{os.urandom(4).hex()}"
    own.shared |= {"an agent's title": secret(), "its instructions": secret(), "a version's note": secret()}
    own.shared[SITE_WORD] = secret()
    definition: dict[str, Any] = {
        "instructions": own.shared["its instructions"],
        "model": "scripted:isolation",
    }
    definition |= {"title": own.shared["an agent's title"], "tools": ["clock"]}
    for suffix, changes in (
        ("", {}),
        ("-asks", {"approval": {"tools": ["clock"]}}),
        ("-other", {"title": "Other"}),
    ):
        name = begins + suffix
        if suffix == "-other":
            changes |= {"instructions": "Be brief."}
        made = (
            await owner.must("POST", f"{owner.path}/agents", {**definition, **changes, "name": name})
        ).told
        own.made.append(name)
        note = {"note": own.shared["a version's note"] if not suffix else ""}
        await owner.must("POST", f"{owner.path}/agents/{name}/versions", note)
        if not suffix:
            own.values["agent"] = [name, made["id"]]
            own.values["model"] = [f"@{owner.handle}/{name}"]
        own.other_id = made["id"]
    own.asking, own.other = begins + "-asks", begins + "-other"
    for name, site in ((begins, f"https://{own.shared[SITE_WORD]}.example"), (own.other, SITE)):
        await owner.must("PUT", f"{owner.path}/agents/{name}/embedding", {"origins": [site]})


async def _talk(owner: Person, own: Belongings) -> None:
    """A conversation with a file in it and an answer, which is the head."""
    words = own.private
    words |= {TITLE_WORD: secret(), "a message": secret(), "a file": secret(), "an answer": secret()}
    agent = own.values["agent"][0]
    path = f"{owner.path}/agents/{agent}/conversations"
    conversation = (await owner.must("POST", path, {"title": f"{own.find} {words[TITLE_WORD]}"})).told["id"]
    data = base64.b64encode(words["a file"].encode()).decode()
    said = f"{own.find} {words['a message']} [[say {words['an answer']}]]"
    parts = [
        {"type": "text", "text": said},
        {"type": "file", "media_type": "text/plain", "name": "a.txt", "data": data},
    ]
    where = f"/api/v1/conversations/{conversation}"
    talked = await owner.must("POST", f"{where}/runs", {"input": parts}, Accept=STREAM)
    messages = (await owner.must("GET", f"{where}/messages")).told["items"]
    first = next(item["id"] for item in messages if item["role"] == "user")
    run = talked.header("porch-run")
    if not run or words["an answer"].encode() not in talked.body:
        raise Refused("An agent with a scripted model does not answer here, so there is nothing to look for.")
    own.values |= {"conversation": [conversation], "message": [first], "run": [run], "chat": [conversation]}
    body = {"model": own.values["model"][0], "input": f"[[say {words['an answer']}]]", "store": True}
    kept = await owner.must("POST", "/openai/v1/responses", body)
    own.values["response"] = [kept.told["id"]]


async def _ask(owner: Person, own: Belongings) -> None:
    """A call that waits for a person."""
    own.private[CALL_WORD] = secret()
    made = (await owner.must("POST", f"{owner.path}/agents/{own.asking}/conversations")).told["id"]
    call = f'[[call clock {{"timezone": "{own.private[CALL_WORD]}"}}]]'
    await owner.must("POST", f"/api/v1/conversations/{made}/runs", {"input": call}, Accept=STREAM)
    waiting = (await owner.must("GET", "/api/v1/approvals")).told["items"]
    asked = next((item for item in waiting if item["conversation"] == made), None)
    if asked is None:
        raise Refused("A call that needs approval did not come to wait for it.")
    own.values["approval"] = [asked["id"]]
    own.values["paused"] = [asked["run"]]


async def _links(owner: Person, own: Belongings) -> None:
    path = f"/api/v1/conversations/{own.values['conversation'][0]}/shares"
    kept, closed = [(await owner.must("POST", path)).told for _ in range(2)]
    own.values["share"], own.open_link, own.dead_link = [kept["id"]], kept["url"], closed["url"]
    await owner.must("DELETE", f"{path}/{closed['id']}")
