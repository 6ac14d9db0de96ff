"""What a server of OpenAI's family says it has: its list of models, asked for once in a while and never for long."""

import asyncio
import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, cast

from porch.egress import Egress, EgressError
from porch.models.addresses import ModelNotConfigured, read_key, read_url
from porch.models.availability import MAX_LIST_BYTES, MAX_LISTED, OPENAI_URL, Availability

# It may stand on the other side of the world, and nobody waits for it.
LIST_SECONDS = 5.0
LONGEST_NAME = 180
ABSENT = frozenset({"dns", "refused", "tls"})


def other_server(environ: Mapping[str, str]) -> str | None:
    """The server that OPENAI_BASE_URL names in place of OpenAI's own, or None."""
    try:
        url = read_url(environ, "OPENAI_BASE_URL", None)
    except ModelNotConfigured:
        return None
    return url if url != OPENAI_URL else None


async def look_at_list(egress: Egress, environ: Mapping[str, str], plain: Availability) -> Availability:
    """The server as `plain` has it, with the models it lists; where it lists none, the note says why."""
    url = other_server(environ)
    if url is None or not plain.ready:
        return plain
    try:
        async with asyncio.timeout(LIST_SECONDS):
            status, body = await _fetch(egress, f"{url}/models", read_key(environ, "OPENAI_API_KEY"))
    except EgressError as error:
        if error.cause in ABSENT:
            note = f"{plain.note}: nothing answers there; start that server, or change OPENAI_BASE_URL"
            return replace(plain, ready=False, note=note)
        return _unlisted(plain, "gives no list of its models")
    except TimeoutError:
        return _unlisted(plain, "does not say in time which models it has")
    names = _names(body) if status == 200 else []
    if names:
        return replace(plain, models=[f"openai:{name}" for name in names])
    said = f" (it answered {status})" if status != 200 else ""
    return _unlisted(plain, f"gives no list of its models{said}")


def unseen_list(plain: Availability) -> Availability:
    """The server before it has answered."""
    return _unlisted(plain, "has not said yet which models it has") if plain.ready else plain


def _unlisted(plain: Availability, why: str) -> Availability:
    return replace(
        plain, note=f"{plain.note}; it {why}: write a model's name yourself, openai: and that name"
    )


async def _fetch(egress: Egress, url: str, key: str | None) -> tuple[int, bytes]:
    headers = {"Accept": "application/json"} | ({"Authorization": f"Bearer {key}"} if key else {})
    reply = await egress.get(url, headers=headers, seconds=LIST_SECONDS)
    try:
        return reply.status, await reply.read_all(MAX_LIST_BYTES)
    finally:
        reply.close()


def _names(body: bytes) -> list[str]:
    try:
        listed = cast("dict[str, Any]", json.loads(body))["data"]
        names = [model["id"] for model in listed]
    except (ValueError, RecursionError, KeyError, TypeError):
        return []
    return list(dict.fromkeys(filter(_is_name, names)))[:MAX_LISTED]


def _is_name(name: object) -> bool:
    return isinstance(name, str) and 0 < len(name) <= LONGEST_NAME and name.isprintable() and " " not in name
