"""Asking a provider and keeping what came."""

from collections.abc import Sequence
from typing import Any

from porch.contract.errors import ModelError
from porch.contract.messages import TextPart
from porch.egress import Egress, Reach
from porch.providers.assembly import Assembly
from porch.providers.chat_completions import ChatCompletions, Quirks
from porch.providers.endpoint import Endpoint, fixed
from porch.providers.request import ModelMessage, ModelRequest, Provider
from porch.providers.transport import Retries
from tests.laws import check_step
from tests.providers.decoding import Decoded

KEY = "sk-test-0123456789abcdef"


def endpoint(url: str, **more: Any) -> Endpoint:
    """OpenAI, elsewhere."""
    names = {"label": "OpenAI", "key": KEY, "key_name": "OPENAI_API_KEY", "url_name": "OPENAI_BASE_URL"}
    return Endpoint(base_url=url, reach=Reach.OPERATOR, **(names | more))


def chat(egress: Egress, url: str, quirks: Quirks | None = None) -> ChatCompletions:
    """A provider at that address, whose retries do not wait."""
    return ChatCompletions(egress, fixed(endpoint(url)), quirks or Quirks(), Retries(first_wait=0))


def request(text: str = "Hello", model: str = "gpt-test", **more: Any) -> ModelRequest:
    """A question."""
    fields: dict[str, Any] = {"model": model, "instructions": ""}
    fields["messages"] = [ModelMessage(role="user", parts=[TextPart(text=text)])]
    return ModelRequest(**(fields | more))


async def ask(provider: Provider, asked: ModelRequest | None = None) -> Decoded:
    """Everything that an answer gave, with the laws checked and the error kept."""
    result = Decoded()
    assembly = Assembly("s1")
    try:
        async for events in provider.stream(asked or request(), assembly, result.outcome):
            assert events, "a list is never empty"
            result.events += events
    except ModelError as error:
        result.error = error
        result.events += assembly.close()
    check_step(result.events)
    return result


def deltas(events: Sequence[Any]) -> list[str]:
    """The texts in the order in which they came."""
    return [event.delta for event in events if hasattr(event, "delta")]
