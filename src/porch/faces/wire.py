"""What the server-sent protocols share: JSON in data lines, and Porch's own words among theirs."""

from typing import Any, Final

import msgspec

from porch.contract.events import AnyEvent, ErrorInfo, Event

encode: Final = msgspec.json.Encoder(decimal_format="string").encode
_ENVELOPE: Final = ("type", *Event.__struct_fields__)

CUT_CODE: Final = "stream_cut"
CUT: Final = (
    "The stream ended before the answer did. The run goes on by itself: read the conversation again soon."
)


def data_frame(value: Any) -> bytes:
    """A server-sent event of this JSON alone."""
    return b"".join((b"data: ", encode(value), b"\n\n"))


def present(**fields: Any) -> dict[str, Any]:
    """The fields that are not None: these protocols know absent ones, and refuse null."""
    return {name: value for name, value in fields.items() if value is not None}


def fields_of(event: AnyEvent) -> dict[str, Any]:
    """What an event carries beside its envelope, as plain values; its step included."""
    found = msgspec.to_builtins(event)
    step = {"step": event.step} if event.step else {}
    return {name: value for name, value in found.items() if name not in _ENVELOPE} | step


def error_fields(error: ErrorInfo) -> dict[str, Any]:
    """An error's machine-readable side."""
    return {"code": error.code, "category": error.category, "retryable": error.retryable}


def text_of(output: Any) -> str:
    """A tool's output as text: itself, or its JSON."""
    return output if isinstance(output, str) else encode(output).decode()
