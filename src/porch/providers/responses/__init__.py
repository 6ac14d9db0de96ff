"""OpenAI's Responses dialect, as OpenAI, Azure, xAI, OpenRouter and others speak it."""

from porch.providers.responses.provider import Responses
from porch.providers.responses.quirks import Quirks, profile

__all__ = ["Quirks", "Responses", "profile"]
