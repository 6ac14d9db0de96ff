"""OpenAI's Chat Completions dialect, as OpenAI and everyone else speak it."""

from porch.providers.chat_completions.profiles import profile
from porch.providers.chat_completions.provider import ChatCompletions
from porch.providers.chat_completions.quirks import Quirks

__all__ = ["ChatCompletions", "Quirks", "profile"]
