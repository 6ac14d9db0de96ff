"""Anthropic's Messages dialect, as Anthropic and the gateways to it speak it."""

from porch.providers.messages.provider import Messages
from porch.providers.messages.quirks import Quirks, find_quirks

__all__ = ["Messages", "Quirks", "find_quirks"]
