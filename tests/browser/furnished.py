"""A house somebody lives in: agents, versions, conversations and a shared link, and the address of every page."""

from dataclasses import dataclass
from typing import Any

from tests.browser.house import House

ANSWER = """Here is a quiet Sunday, from slow to slower:

1. **Morning.** Bread in the oven, the window open. Nothing is *due* today.
2. **Noon.** A walk to the river; turn back when the path does.
3. **Evening.** Soup, and two chapters on the porch.

If you want it in a calendar:

```python
from datetime import datetime, timedelta

start = datetime(2026, 11, 29, 9, 0)
for hours, what in [(0, "bread"), (3, "river"), (9, "soup")]:
    print(start + timedelta(hours=hours), what)
```

| When | What | How long |
|---|---|---|
| 9:00 | Bread | an hour |
| 12:00 | River | two hours |
| 18:00 | Soup | as long as it takes |

> Sundays are not for catching up.

More ideas are on [example.org](https://example.org/sundays)."""

PLANNER: dict[str, Any] = {
    "name": "sunday",
    "title": "Sunday planner",
    "description": "Plans days on which nothing is due, and keeps them that way.",
    "model": "scripted:test",
    "tools": ["clock"],
    "instructions": "You plan quiet days.\n\n"
    "[[think They want a quiet day. First I look at what day it is, then I plan it backwards from the evening.]]"
    f"[[call clock {{}}]][[say {ANSWER}]]",
}
REVIEWER: dict[str, Any] = {
    "name": "reviewer",
    "title": "Code reviewer",
    "description": "Reads a change like a careful colleague: what is wrong, why, and how to mend it.",
    "model": ["scripted:test", "openai:gpt-4o"],
    "instructions": "You review code.\nName the line, say what is wrong, and how to mend it.\nPraise nothing.",
}
TUTOR: dict[str, Any] = {
    "name": "tutor",
    "title": "مدرّس",
    "description": "يشرح الأشياء خطوة خطوة، بأسئلة قصيرة.",
    "model": "scripted:test",
    "instructions": "[[say مساء الخير. ما الذي تودّ أن تفهمه اليوم؟]]",
}
NIGHT_DESK: dict[str, Any] = {
    "name": "night-desk",
    "title": "Night desk",
    "description": "Answers when nobody else does, unless it is asked too often.",
    "model": "scripted:test",
    "instructions": "[[say One moment, I am]] [[fail 429 retry=3]]",
}
KEEPER = {
    "name": "keeper",
    "title": "Keeper of the clock",
    "description": "Looks at the clock only when somebody lets it.",
    "model": "scripted:test",
    "tools": ["clock"],
    "approval": {"tools": ["clock"]},
    "instructions": '[[say Let me look.]] [[call clock {"timezone": "Europe/Oslo"}]] [[say It is {result}.]]',
}


@dataclass(frozen=True)
class Furnished:
    """What is in the house; `pages` are its addresses by name, for who is signed in unless `public`."""

    house: House
    conversation: str
    pages: dict[str, str]
    public: dict[str, str]


async def furnish(house: House) -> Furnished:
    """Put it all in, over the API."""
    base = f"/api/v1/workspaces/{house.workspace}/agents"
    await house.agent(**TUTOR, published=False)
    await house.agent(**REVIEWER)
    changed = {
        "instructions": "You review code.\nName the line, say what is wrong, why, and how to mend it.\nBe brief.",
        "settings": {"temperature": 0.2},
    }
    await house.api("PATCH", f"{base}/reviewer", changed)
    await house.api("POST", f"{base}/reviewer/versions", {"note": "Says why, and more briefly."})
    await house.api("PUT", f"{base}/reviewer/embedding", {"origins": ["https://reviews.example"]})
    await house.api("PATCH", f"{base}/reviewer", {"description": "Reads a change like a careful colleague."})
    await house.agent(**PLANNER)
    await house.agent(**NIGHT_DESK)
    await house.agent(**KEEPER)
    decided, waiting = [await house.conversation("keeper") for _ in range(2)]
    await house.say(decided, "Which day is it in Oslo?")
    [approval] = (await house.api("GET", "/api/v1/approvals"))["items"]
    word = {"decision": "deny", "note": "Ask again tomorrow."}
    await house.api("POST", f"/api/v1/runs/{approval['run']}/approvals/{approval['id']}", word)
    await house.say(waiting, "And what time is it there?")
    await house.say(await house.conversation("reviewer"), "Why is the last row missing from this page?")
    await house.say(await house.conversation("tutor"), "مرحبا، كيف أتعلّم الكسور؟")
    failed = await house.conversation("night-desk")
    await house.say(failed, "Is anybody there?")
    conversation = await house.conversation("sunday")
    await house.say(conversation, "Help me plan a quiet Sunday.")
    share = await house.api("POST", f"/api/v1/conversations/{conversation}/shares")
    shared = str(share["url"])
    return Furnished(
        house,
        conversation,
        pages={
            "home": "/",
            "agents": "/agents",
            "gallery": "/agents/new",
            "new-agent": "/agents/new?template=assistant",
            "editor": "/agents/reviewer",
            "embed": "/agents/reviewer/embed",
            "publish": "/agents/reviewer/publish",
            "versions": "/agents/reviewer/versions",
            "difference": "/agents/reviewer/versions/1..2",
            "delete-agent": "/agents/reviewer/delete",
            "agent": f"/@{house.workspace}/sunday",
            "conversations": "/conversations",
            "inbox": "/inbox",
            "inbox-decided": "/inbox?state=decided",
            "search": "/conversations?q=Sunday",
            "chat": f"/chat/{conversation}",
            "chat-failed": f"/chat/{failed}",
            "chat-waiting": f"/chat/{waiting}",
            "models": "/models",
            "sessions": "/sessions",
            "tokens": "/tokens",
            "audit": "/audit",
            "passkeys": "/passkeys",
            "latency": "/status/latency?range=1h",
            "design": "/design",
            "not-found": "/nothing/here",
        },
        public={
            "sign-in": "/sign-in",
            "shared": shared[shared.index("/shared/") :],
        },
    )
