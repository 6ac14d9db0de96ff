"""What a change of the stream contract would break, and the one way to keep a change that breaks nothing.

python -m tests.contract.schema_changes    writes docs/contract/v1.schema.json, or says what stands against it
"""

import json
import sys
from pathlib import Path
from typing import Any

from porch.contract.schema import stream_schema

KEPT = Path(__file__).parents[2] / "docs" / "contract" / "v1.schema.json"
WORDS = {"title", "description"}


def breaking_changes(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    """What old readers, or new readers of old journals, would stumble over; empty when nothing.

    New event types and new optional fields are fine. Everything else about what is there stays: a wider value is
    a surprise to an old reader, a field newly required is missing in an old journal.
    """
    found: list[str] = []
    before, after = old["discriminator"]["mapping"], new["discriminator"]["mapping"]
    found += [f"the type {tag!r} is gone" for tag in before if tag not in after]
    for name, was in old["$defs"].items():
        now = new["$defs"].get(name)
        if now is not None:
            found += _changed_fields(name, was, now)
        elif not any(ref.endswith(f"/{name}") for ref in before.values()):
            found.append(f"{name} is gone")
    return found


def _changed_fields(name: str, was: dict[str, Any], now: dict[str, Any]) -> list[str]:
    found: list[str] = []
    for field, schema in was.get("properties", {}).items():
        if field not in now.get("properties", {}):
            found.append(f"{name}.{field} is gone")
        elif _bare(schema) != _bare(now["properties"][field]):
            found.append(f"{name}.{field} has another type")
    required, requires = set(was.get("required", ())), set(now.get("required", ()))
    found += [f"{name}.{field} is newly required" for field in sorted(requires - required)]
    found += [f"{name}.{field} may be missing now" for field in sorted(required - requires)]
    return found


def _bare(schema: Any) -> Any:
    """A schema without its words, and with its alternatives in one order."""
    if isinstance(schema, dict):
        return {key: _bare(value) for key, value in schema.items() if key not in WORDS}  # pyright: ignore[reportUnknownVariableType]  # JSON
    if isinstance(schema, list):
        return sorted((_bare(item) for item in schema), key=repr)  # pyright: ignore[reportUnknownVariableType]  # JSON
    return schema


def kept_schema() -> dict[str, Any]:
    """The schema that readers were promised."""
    return json.loads(KEPT.read_text(encoding="utf-8"))


def main() -> None:
    """Keep today's schema unless that breaks a reader."""
    schema = stream_schema()
    if KEPT.exists() and (broken := breaking_changes(kept_schema(), schema)):
        sys.exit("Nothing was written, since this needs a v2 of the contract:\n- " + "\n- ".join(broken))
    KEPT.parent.mkdir(parents=True, exist_ok=True)
    KEPT.write_text(json.dumps(schema, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
