"""From a provider's data to the provider that can be asked."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Protocol

from porch.contract.errors import ModelError, PorchError
from porch.egress import Egress, Reach
from porch.models.addresses import ollama_url
from porch.models.catalogue import find_card
from porch.models.places import Found, root
from porch.providers import chat_completions, messages, responses
from porch.providers.endpoint import Endpoint, fixed
from porch.providers.request import Provider


class LocalEndpoint(Protocol):
    """Where the bundled model's process listens."""

    @property
    def base_url(self) -> str: ...
    @property
    def api_key(self) -> str: ...


class LocalModel(Protocol):
    """The bundled model as a process that starts when it is first asked for."""

    @property
    def state(self) -> str:
        """`absent`, `idle`, `starting`, `ready`, or `failed: ` and a sentence."""
        ...

    async def endpoint(self) -> LocalEndpoint:
        """Where it listens, starting it if need be. Raises PorchError."""
        ...


def make(egress: Egress, found: Found, *, kept: bool) -> Provider:
    """The provider at a place in its dialect. `kept`: its key is one that Porch itself keeps."""
    place = found.place
    endpoint = Endpoint(
        label=_label(found),
        base_url=root(found),
        key=found.key,
        key_name="the Models page" if kept else place.key,
        url_name=place.variable,
        hint=None if found.given else "Check the network, and what stands between here and there.",
        reach=Reach.OPERATOR if found.given else Reach.PUBLIC,
    )
    return _DIALECTS[place.dialect](egress, endpoint, found)


def make_ollama(egress: Egress, environ: Mapping[str, str]) -> Provider:
    """Ollama, through its OpenAI-compatible door."""
    endpoint = Endpoint(
        label="Ollama",
        base_url=ollama_url(environ) + "/v1",
        url_name="OLLAMA_HOST",
        hint="Start it (ollama serve), or set OLLAMA_HOST to where it runs.",
        reach=Reach.OPERATOR,
    )
    return chat_completions.ChatCompletions(egress, fixed(endpoint), chat_completions.profile("ollama"))


def make_bundled(egress: Egress, local: LocalModel) -> Provider:
    """The bundled model, whose process starts with the first question."""

    async def locate() -> Endpoint:
        try:
            found = await local.endpoint()
        except PorchError as error:
            raise ModelError(
                error.message, code="local_model", category="overloaded", retryable=error.status == 503
            ) from error
        return Endpoint(
            label="the bundled model",
            base_url=found.base_url,
            key=found.api_key,
            hint="Its process may have ended; ask again, or run porch doctor.",
            reach=Reach.OPERATOR,
        )

    quirks = chat_completions.Quirks(tools=False, images=False)
    return chat_completions.ChatCompletions(egress, locate, quirks)


def _label(found: Found) -> str:
    if not found.elsewhere or found.place.url is None:
        return found.place.label
    if found.place.holder == "openai":
        return "the OpenAI-compatible server"
    return f"the server in place of {found.place.label}"


def _profile(found: Found) -> str:
    """OpenAI's name is lent to every server of its family; the other names stay with their own dialects."""
    return "another" if found.elsewhere and found.place.holder == "openai" else found.place.profile


def _chat(egress: Egress, endpoint: Endpoint, found: Found) -> Provider:
    quirks = chat_completions.profile(_profile(found))
    return chat_completions.ChatCompletions(egress, fixed(endpoint), quirks)


def _responses(egress: Egress, endpoint: Endpoint, found: Found) -> Provider:
    return responses.Responses(egress, fixed(endpoint), responses.profile(_profile(found)))


def _messages(egress: Egress, endpoint: Endpoint, found: Found) -> Provider:
    def quirks(model: str) -> messages.Quirks:
        usual = messages.find_quirks(model)
        longest = find_card(found.place.name, model).max_output_tokens
        return replace(usual, max_tokens=min(usual.max_tokens, longest)) if longest else usual

    return messages.Messages(egress, fixed(endpoint), quirks)


_DIALECTS: dict[str, Callable[[Egress, Endpoint, Found], Provider]] = {
    "chat": _chat,
    "responses": _responses,
    "messages": _messages,
}
