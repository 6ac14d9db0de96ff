"""The client library: Porch's HTTP API and its streams, for programs. It needs the contract and aiohttp alone."""

from porch.client.api import AsyncPorch
from porch.client.errors import ApiError, ConnectionLost, StreamBroken, Unreachable
from porch.client.stream import Reconnecting, Resync, RunStream, StreamItem, Timings

__all__ = [
    "ApiError",
    "AsyncPorch",
    "ConnectionLost",
    "Reconnecting",
    "Resync",
    "RunStream",
    "StreamBroken",
    "StreamItem",
    "Timings",
    "Unreachable",
]
