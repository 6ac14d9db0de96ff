"""What is sent at which door: bodies and forms that would be taken if the object were one's own."""

from dataclasses import dataclass
from typing import Any

STREAM = {"Accept": "text/event-stream"}


@dataclass(frozen=True, slots=True)
class Shape:
    """A door's body as JSON or a form's fields, with `{names}` for objects, and the ways to ask there.

    A way is what stands behind the path, and headers. `expects` are the statuses of a stranger's refusal where they
    are others than usual. `refers` are fields by which a body may name another object.
    What takes a `session` alone refuses every token.
    `last` orders what the owner does when everybody else was refused; what is `once` has a twin that did it before.
    """

    body: Any = None
    form: dict[str, str] | None = None
    ways: tuple[tuple[str, dict[str, str]], ...] = (("", {}),)
    expects: frozenset[int] = frozenset()
    last: int = 0
    once: bool = False
    refers: dict[str, str] | None = None
    session: bool = False


_DEFINITION = {"name": "mine", "instructions": "Mine now.", "model": "scripted:isolation"}
_TALK = [{"role": "user", "content": "[[say Hi]]"}]
_UI_TALK = {
    "id": "mine",
    "messages": [{"id": "m1", "role": "user", "parts": [{"type": "text", "text": "[[say Hi]]"}]}],
}
_AG_TALK: dict[str, Any] = {
    "threadId": "mine",
    "runId": "r1",
    "messages": [{"id": "m1", "role": "user", "content": "[[say Hi]]"}],
    "tools": [],
    "context": [],
}
_STREAMED: tuple[tuple[str, dict[str, str]], ...] = (("", {}), ("", STREAM))
_ANSWER = {"model": "@{ws}/{agent}", "input": "[[say Hi]]"}
_CHAT = {"model": "@{ws}/{agent}", "messages": _TALK}
_ONE = "/@{ws}/{agent}/v1"

SHAPES: dict[str, Shape] = {
    "POST /api/v1/conversations/{conversation}/runs": Shape(
        body={"input": "[[say Hi]]"}, ways=_STREAMED, refers={"parent": "{message}"}
    ),
    "POST /api/v1/conversations/{conversation}/messages/{message}/regenerate": Shape(ways=_STREAMED),
    "GET /api/v1/runs/{run}/events": Shape(
        ways=(("", {}), ("?after=1-1", {}), ("", {"Last-Event-ID": "1-2"}), ("", {"Last-Event-ID": "9-9"}))
    ),
    "POST /api/v1/runs/{run}/cancel": Shape(last=1),
    "POST /api/v1/runs/{run}/approvals/{approval}": Shape(body={"decision": "deny"}, last=2),
    "PUT /api/v1/workspaces/{ws}/quota": Shape(body={"tokens": 123_456_789, "period": "day"}),
    "POST /api/v1/workspaces/{ws}/agents": Shape(body=_DEFINITION),
    "PUT /api/v1/workspaces/{ws}/agents/{agent}": Shape(body={**_DEFINITION, "name": "{agent}"}, last=1),
    "PATCH /api/v1/workspaces/{ws}/agents/{agent}": Shape(body={"title": "Mine now"}),
    "DELETE /api/v1/workspaces/{ws}/agents/{agent}": Shape(last=9),
    "POST /api/v1/workspaces/{ws}/agents/{agent}/versions": Shape(body={"note": "Mine now"}),
    "POST /api/v1/workspaces/{ws}/agents/{agent}/conversations": Shape(body={"title": "Mine now"}),
    "GET /api/v1/conversations": Shape(ways=(("", {}), ("?q={find}", {}))),
    "GET /api/v1/approvals": Shape(ways=(("", {}), ("?state=decided", {}))),
    "PATCH /api/v1/conversations/{conversation}": Shape(
        body={"title": "Mine now"}, refers={"head": "{message}"}
    ),
    "DELETE /api/v1/conversations/{conversation}": Shape(last=5),
    "POST /api/v1/conversations/{conversation}/restore": Shape(last=6),
    "GET /api/v1/conversations/{conversation}/export": Shape(
        ways=(("?format=json", {}), ("?format=markdown", {}))
    ),
    "DELETE /api/v1/conversations/{conversation}/shares/{share}": Shape(last=3),
    "PUT /api/v1/workspaces/{ws}/agents/{agent}/embedding": Shape(body={"origins": ["https://mine.example"]}),
    # Its handle is taken: nothing is made, also by whoever may make workspaces.
    "POST /api/v1/workspaces": Shape(
        body={"handle": "{ws}", "name": "x"}, expects=frozenset({403, 409, 422})
    ),
    "PATCH /api/v1/workspaces/{ws}": Shape(body={"name": "Mine now"}),
    # Its owner has deleted another one before.
    "DELETE /api/v1/workspaces/{ws}": Shape(expects=frozenset({404})),
    "POST /api/v1/deleted-workspaces/{workspace}/restore": Shape(expects=frozenset({403, 404})),
    "POST /api/v1/workspaces/{ws}/tokens": Shape(
        body={"name": "mine", "scopes": ["read:agents"], "expires_in": 600}
    ),
    "POST /api/v1/workspaces/{ws}/tokens/{token}/rotate": Shape(body={"overlap": 600}, last=2),
    "DELETE /api/v1/workspaces/{ws}/tokens/{token}": Shape(last=3),
    "GET /api/v1/passkeys": Shape(session=True),
    "PATCH /api/v1/workspaces/{ws}/members/{user}": Shape(body={"role": "viewer"}, last=2),
    "DELETE /api/v1/workspaces/{ws}/members/{user}": Shape(last=4),
    "POST /api/v1/workspaces/{ws}/invitations": Shape(body={"role": "viewer"}),
    "DELETE /api/v1/workspaces/{ws}/invitations/{invitation}": Shape(last=3),
    "PUT /api/v1/models/keys/{provider}": Shape(body={"key": "sk-000000000000000000000000"}),
    "POST /api/v1/models/test": Shape(body={"model": "nobody:nothing"}),
    "POST /@{ws}/{agent}/ag-ui": Shape(body=_AG_TALK, refers={"threadId": "{conversation}"}),
    "POST /@{ws}/{agent}/ai-sdk": Shape(body=_UI_TALK, refers={"id": "{conversation}"}),
    "POST /openai/v1/chat/completions": Shape(body=_CHAT),
    "POST /openai/v1/responses": Shape(body=_ANSWER, refers={"previous_response_id": "{response}"}),
    f"POST {_ONE}/chat/completions": Shape(body={**_CHAT, "stream": True}),
    f"POST {_ONE}/responses": Shape(body=_ANSWER, refers={"previous_response_id": "{response}"}),
    "GET /openai/v1/responses/{response}": Shape(ways=(("", {}), ("?stream=true", {}))),
    f"GET {_ONE}/responses/{{response}}": Shape(ways=(("", {}), ("?stream=true&starting_after=0", {}))),
    "DELETE /openai/v1/responses/{response}": Shape(last=7),
    f"DELETE {_ONE}/responses/{{response}}": Shape(last=8, once=True),
    "POST /openai/v1/responses/{response}/cancel": Shape(last=1),
    f"POST {_ONE}/responses/{{response}}/cancel": Shape(last=1),
    # -- pages
    "POST /agents/new": Shape(form={"template": "blank", "name": "mine", "model": "scripted:isolation"}),
    "POST /agents/{agent}": Shape(form={"title": "Mine now", "revision": "1"}),
    "POST /agents/{agent}/delete": Shape(form={}, last=10, once=True),
    "POST /agents/{agent}/versions": Shape(form={"note": "Mine now", "revision": "1"}),
    "POST /agents/{agent}/versions/{number}/restore": Shape(form={"revision": "1"}),
    "POST /agents/{agent}/embed": Shape(form={"origins": "https://mine.example"}),
    "GET /conversations": Shape(ways=(("", {}), ("?q={find}", {}))),
    "GET /inbox": Shape(ways=(("", {}), ("?state=decided", {}))),
    "POST /conversations/{conversation}/rename": Shape(form={"title": "Mine now"}),
    "POST /conversations/{conversation}/delete": Shape(form={}, last=7),
    "POST /conversations/{conversation}/restore": Shape(form={}, last=8),
    "POST /conversations/{conversation}/audience": Shape(form={"audience": "own"}),
    "POST /conversations/{conversation}/shares/{share}/revoke": Shape(form={}, last=4, once=True),
    "POST /inbox/{approval}": Shape(form={"decision": "deny"}, last=3),
    "POST /members/invitations": Shape(form={"role": "viewer", "days": "1"}),
    "POST /members/invitations/{invitation}/revoke": Shape(form={}, last=4, once=True),
    "POST /members/{user}/role": Shape(form={"role": "viewer"}, last=3),
    "POST /members/{user}/remove": Shape(form={}, last=5, once=True),
    "POST /sessions/{session}/end": Shape(form={}, last=11),
    "POST /tokens": Shape(
        form={"name": "mine", "scope": "read:agents", "agent": "{agent}", "as": "me", "days": "7"},
        expects=frozenset({403, 404, 422}),
    ),
    "POST /tokens/{token}/rotate": Shape(form={"overlap": "0"}, last=4, once=True),
    "POST /tokens/{token}/revoke": Shape(form={}, last=5, once=True),
    "POST /account/provider/unlink": Shape(form={"issuer": "https://nobody.example"}),
    "POST /workspaces/new": Shape(form={"handle": "{ws}", "name": "x"}, expects=frozenset({403, 409, 422})),
    "POST /workspace/name": Shape(form={"name": "Mine now"}),
    "POST /workspace/handle": Shape(form={"handle": "-"}),
    "POST /workspace/delete": Shape(form={"handle": "-"}),
    "POST /workspaces/restore": Shape(form={"workspace": "{workspace}"}, expects=frozenset({403, 404})),
    "POST /workspaces/switch": Shape(form={"workspace": "{ws}"}, expects=frozenset({403, 404})),
    "POST /account": Shape(form={"login": "-", "before": "", "password": "short"}),
    "POST /models/test": Shape(form={"model": "nobody:nothing"}),
    "POST /models/test/stream": Shape(form={"model": "nobody:nothing"}),
    "POST /models/keys/{provider}": Shape(form={"key": "sk-000000000000000000000000"}),
}

# What the OpenAPI document leaves out: method, path, scope (`-`: any credential), and whether it is the installation's
# (`home`) or concerns a person in whichever workspace (`anywhere`).
PAGES = """
GET /agents read:agents
GET /agents/new write:agents
POST /agents/new write:agents
GET /agents/{agent} read:agents
POST /agents/{agent} write:agents
GET /agents/{agent}/delete write:agents
POST /agents/{agent}/delete write:agents
GET /@{ws}/{agent} run:agents
GET /agents/{agent}/publish write:agents
POST /agents/{agent}/versions write:agents
GET /agents/{agent}/versions read:agents
GET /agents/{agent}/versions/{span} read:agents
POST /agents/{agent}/versions/{number}/restore write:agents
GET /agents/{agent}/embed read:agents
POST /agents/{agent}/embed write:agents
GET /conversations read:conversations
GET /chat/{conversation} read:conversations
GET /conversations/{conversation}/rename write:conversations
POST /conversations/{conversation}/rename write:conversations
POST /conversations/{conversation}/delete write:conversations
POST /conversations/{conversation}/restore write:conversations
GET /conversations/{conversation}/share write:conversations
POST /conversations/{conversation}/share write:conversations
POST /conversations/{conversation}/audience write:conversations
POST /conversations/{conversation}/shares/{share}/revoke write:conversations
GET /inbox read:conversations
POST /inbox/{approval} run:agents
GET /sessions read:tokens
POST /sessions/{session}/end write:tokens anywhere
GET /account - anywhere
POST /account - anywhere
POST /account/provider - anywhere
POST /account/provider/unlink - anywhere
GET /passkeys - anywhere
GET /confirm - anywhere
POST /confirm - anywhere
GET /account/recovery - anywhere
POST /account/recovery - anywhere
POST /passkeys/{passkey}/remove - anywhere
GET /tokens read:tokens
POST /tokens write:tokens
POST /tokens/{token}/rotate write:tokens
POST /tokens/{token}/revoke write:tokens
GET /audit admin:workspaces
GET /members read:members
POST /members/invitations admin:members
POST /members/invitations/{invitation}/revoke admin:members
POST /members/{user}/role admin:members
GET /members/{user}/remove read:members
POST /members/{user}/remove write:members
GET /workspace read:workspaces
POST /workspace/name admin:workspaces
POST /workspace/handle admin:workspaces
GET /workspace/delete admin:workspaces
POST /workspace/delete admin:workspaces
POST /workspaces/restore - anywhere
GET /workspaces/new - anywhere
POST /workspaces/new - anywhere
POST /workspaces/switch - anywhere
GET /models read:models
GET /models/abilities read:models
POST /models/test/stream admin:models
POST /models/test admin:models
POST /models/keys/{provider} admin:models home
POST /models/keys/{provider}/remove admin:models home
GET /status/latency admin:workspaces
GET / read:agents
GET /openai/v1/{rest:path} run:agents
DELETE /openai/v1/{rest:path} run:agents
PATCH /openai/v1/{rest:path} run:agents
POST /openai/v1/{rest:path} run:agents
PUT /openai/v1/{rest:path} run:agents
GET /@{ws}/{agent}/v1/{rest:path} run:agents
DELETE /@{ws}/{agent}/v1/{rest:path} run:agents
PATCH /@{ws}/{agent}/v1/{rest:path} run:agents
POST /@{ws}/{agent}/v1/{rest:path} run:agents
PUT /@{ws}/{agent}/v1/{rest:path} run:agents
"""

# Doors that ask for no credential, and why they need none.
PUBLIC: dict[str, str] = {
    "GET /healthz": "tells whether the process lives",
    "GET /readyz": "tells whether it takes work",
    "GET /contract/v1/schema.json": "is the contract, the same for all",
    "GET /openapi.json": "is the interface, the same for all",
    "GET /static/{path:path}": "are files that come with Porch",
    "GET /embed.js": "is a script that comes with Porch",
    "GET /favicon.svg": "is the mark",
    "GET /manifest.webmanifest": "names the mark",
    "GET /design": "shows the design system",
    "GET /shared/{token}": "needs the link; dead and foreign links are tried",
    "GET /shared/{token}/messages/{message}/parts/{part}": "needs the link; dead and foreign links are tried",
    "POST /@{ws}/{agent}/guests": "asks for the site; that of another agent is tried",
    "GET /join/{secret}": "needs the invitation; a revoked one is tried",
    "POST /join/{secret}": "needs the invitation; a revoked one is tried",
    "GET /sign-in": "is where one signs in",
    "POST /sign-in": "is where one signs in",
    "GET /sign-in/{link}": "needs the link",
    "POST /sign-in/{link}": "needs the link",
    "POST /sign-out": "ends the browser's own session",
    "GET /sign-in/with/provider": "is where one signs in",
    "GET /sign-in/with/back": "needs the state that its browser began with",
    "POST /api/v1/sign-in/passkey/options": "is where one signs in",
    "POST /api/v1/sign-in/passkey": "needs what an authenticator signed",
    "GET /recover": "is where one comes in with a recovery code",
    "POST /recover": "needs a recovery code",
    "GET /sign-up": "is where one signs up",
    "POST /sign-up": "is where one signs up",
}
