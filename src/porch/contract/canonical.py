"""Canonical JSON: one text for one value, so that what a person saw can be held against what runs."""

import hashlib

import msgspec


def canonical_json(value: object) -> str:
    """A JSON value as text with sorted keys and no spaces; decoded and written again it is the same."""
    return msgspec.json.encode(value, order="sorted").decode()


def canonical_hash(text: str) -> str:
    """`sha256:` and the hex digest of a canonical text."""
    return "sha256:" + hashlib.sha256(text.encode()).hexdigest()
