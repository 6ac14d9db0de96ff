"""The client library: Porch's HTTP API and its streams, for programs. It needs the contract and aiohttp alone."""

from porch.client.answer import Answer, ToolUse
from porch.client.api import AsyncPorch, Receipt
from porch.client.blocking import Porch, Stream
from porch.client.errors import (
    AnswerCancelled,
    AnswerFailed,
    ApiError,
    Closed,
    ConnectionLost,
    StreamBroken,
    TimedOut,
    Unreachable,
    WrongAddress,
)
from porch.client.items import Reconnecting, Resync, StreamEvent, StreamItem, Timings
from porch.client.message import attach
from porch.client.stream import RunStream

__all__ = [
    "Answer",
    "AnswerCancelled",
    "AnswerFailed",
    "ApiError",
    "AsyncPorch",
    "Closed",
    "ConnectionLost",
    "Porch",
    "Receipt",
    "Reconnecting",
    "Resync",
    "RunStream",
    "Stream",
    "StreamBroken",
    "StreamEvent",
    "StreamItem",
    "TimedOut",
    "Timings",
    "ToolUse",
    "Unreachable",
    "WrongAddress",
    "attach",
]
