"""Definitions to begin with: what `porch new --template` and `porch hello` make agents of."""

from typing import Any

BUNDLED = "local:smollm2"

TEMPLATES: dict[str, dict[str, Any]] = {
    "hello": {
        "title": "Hello",
        "description": "A first agent to talk to.",
        "instructions": "You are a friendly, helpful assistant. Answer briefly and in plain words.",
    },
    "assistant": {
        "title": "Assistant",
        "description": "Answers questions and says when it does not know.",
        "instructions": (
            "You are a careful assistant. Answer the question that was asked, first in one sentence, then with "
            "what else is needed. Say so when you do not know. Look at the clock before you speak of today."
        ),
        "tools": ["clock"],
    },
    "critic": {
        "title": "Critic",
        "description": "Reads a text and says what would make it better.",
        "instructions": (
            "You get a text. Name its three greatest weaknesses, quote the place of each, and offer a better "
            "wording. Do not praise, do not rewrite the whole."
        ),
    },
}


def definition(template: str, name: str, model: str) -> dict[str, Any]:
    """A template's definition under a name of one's own."""
    return {"name": name, **TEMPLATES[template], "model": model}
