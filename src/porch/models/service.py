"""From a model's name to the provider that answers for it."""

import asyncio
import logging
import re
import time
from collections.abc import Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, Protocol, cast

from porch.contract.definition import ModelSettings
from porch.contract.errors import InvalidInput, ModelError, PorchError, SetupError, Unavailable
from porch.contract.messages import TextPart
from porch.egress import Egress
from porch.models.addresses import ModelNotConfigured, ollama_url, read_key, read_url
from porch.models.availability import (
    BUNDLED,
    LATER,
    OPENAI_URL,
    Availability,
    look_at_bundled,
    look_at_later,
    look_at_ollama,
    look_at_openai,
    look_at_scripted,
    unseen_ollama,
)
from porch.models.catalogue import ModelCard, find_card
from porch.models.keys import VARIABLES, ModelKeys
from porch.models.listing import look_at_list, other_server, unseen_list
from porch.models.lookout import Lookout
from porch.providers.assembly import Assembly
from porch.providers.chat_completions import ChatCompletions, Quirks
from porch.providers.endpoint import Endpoint, fixed
from porch.providers.request import ModelMessage, ModelRequest, Provider, StepOutcome
from porch.providers.scripted import Scripted

log = logging.getLogger(__name__)

# A list of models changes seldom, and who gives it is asked over the network.
LIST_FRESH_SECONDS = 30.0


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


@dataclass(frozen=True, slots=True)
class ResolvedModel:
    """A model that can be asked. `model` is the provider's own name for it, `name` the whole one."""

    provider: Provider
    model: str
    context_tokens: int
    max_output_tokens: int | None
    name: str
    card: ModelCard


@dataclass(frozen=True, slots=True)
class Probe:
    """A model's sign of life: the model that answered and the seconds to its first event."""

    model: str
    seconds: float


class Models:
    """The models of this installation.

    `environ` holds keys and addresses under their usual names; it is read here and nowhere else. `keys` are
    those that people gave to Porch itself, which come first.
    """

    def __init__(
        self,
        environ: Mapping[str, str],
        egress: Egress,
        local: LocalModel | None = None,
        keys: ModelKeys | None = None,
    ) -> None:
        self._environ = keys.over(environ) if keys else environ
        self._given = environ
        self._keys = keys
        self._changing = asyncio.Lock()
        self._egress = egress
        self._local = local
        self._ollama_lookout = Lookout(
            lambda seconds: look_at_ollama(egress, self._environ, seconds),
            lambda: unseen_ollama(self._environ),
        )
        self._list_lookout = self._new_list_lookout()
        # Of keys that were tested and refused: which, by provider.
        self._refused: dict[str, str] = {}
        self._makers: dict[str, Callable[[str], Provider]] = {
            "openai": self._openai,
            "ollama": self._ollama,
            "local": self._bundled,
            "scripted": self._scripted,
        }
        self._providers: dict[str, Provider] = {}

    def resolve(self, name: str) -> ResolvedModel:
        """The model of that name (`provider:model`).

        Raises InvalidInput for a name that nothing answers to, ModelNotConfigured when a key, an address or
        the weights are missing.
        """
        provider, colon, model = name.partition(":")
        maker = self._makers.get(provider)
        if not colon or not model or maker is None:
            raise self._unknown(name, provider, model)
        if provider not in self._providers:
            self._providers[provider] = maker(model)
        elif provider == "local":
            self._bundled(model)
        card = find_card(provider, model)
        context = self._ollama_window(card) if provider == "ollama" else card.context_tokens
        return ResolvedModel(
            provider=self._providers[provider],
            model=model,
            context_tokens=context,
            max_output_tokens=card.max_output_tokens,
            name=name,
            card=card,
        )

    async def available(self, *, seconds: float = 0.3) -> list[Availability]:
        """Every provider with what was found for it.

        Waits for Ollama, and for a server that stands in OpenAI's place, no longer than `seconds`; what was found
        within the last minute is told at once, with its age.
        """
        openai, ollama = await asyncio.gather(self._see_openai(seconds), self._ollama_lookout.see(seconds))
        return [
            look_at_bundled(self._local.state if self._local is not None else "off"),
            openai,
            ollama,
            *(look_at_later(self._given, name) for name in LATER),
            look_at_scripted(),
        ]

    async def _see_openai(self, seconds: float) -> Availability:
        plain = self._look_at_openai()
        listed = plain.ready and other_server(self._environ) is not None
        return await self._list_lookout.see(seconds) if listed else plain

    def _look_at_openai(self) -> Availability:
        kept, refused = self.key_ending("openai") is not None, self.is_refused("openai")
        return look_at_openai(self._environ, kept=kept, refused=refused)

    def _new_list_lookout(self) -> Lookout:
        return Lookout(
            lambda _: look_at_list(self._egress, self._environ, self._look_at_openai()),
            lambda: unseen_list(self._look_at_openai()),
            fresh=LIST_FRESH_SECONDS,
        )

    def is_refused(self, provider: str) -> bool:
        """Whether the provider refused the key that it has here, when that was last tested."""
        if self._keys and self._keys.is_refused(provider):
            return True
        key = self._environ.get(VARIABLES.get(provider, ""))
        return key is not None and key == self._refused.get(provider)

    def key_ending(self, provider: str) -> str | None:
        """The last characters of the key that Porch itself keeps for a provider, None where it keeps none."""
        return self._keys.ending(provider) if self._keys else None

    async def keep_key(self, provider: str, key: str) -> None:
        """Keep a key, for the next model call on. Raises InvalidInput, NotFound, SetupError."""
        keys = self._own_keys()
        await self._change(provider, lambda: keys.put(provider, key))

    async def forget_key(self, provider: str) -> None:
        """Forget a kept key; one in the environment holds again. Raises NotFound, SetupError."""
        keys = self._own_keys()
        await self._change(provider, lambda: keys.remove(provider))

    async def probe(self, name: str) -> Probe:
        """Ask a model for a word and wait for its first event. Raises as `resolve` does, and ModelError.

        Whether the provider took the key is remembered until that is tested again or another comes in its place.
        """
        resolved = self.resolve(name)
        provider = name.partition(":")[0]
        key = self._environ.get(VARIABLES.get(provider, ""))
        try:
            found = await self._ask(resolved)
        except ModelError as error:
            if error.kind == "auth":
                await self._note_test(provider, key, refused=True)
            raise
        await self._note_test(provider, key, refused=False)
        return found

    async def _note_test(self, provider: str, key: str | None, *, refused: bool) -> None:
        if key is None:
            return
        self._refused.pop(provider, None)
        if refused:
            self._refused[provider] = key
        if keys := self._keys:
            async with self._changing:
                try:
                    await asyncio.to_thread(keys.note_test, provider, key, refused=refused)
                except SetupError as error:
                    # This process knows it all the same.
                    log.warning("What came of the test is not kept: %s", error.message)

    async def _ask(self, resolved: ResolvedModel) -> Probe:
        request = ModelRequest(
            model=resolved.model,
            instructions="",
            messages=[ModelMessage(role="user", parts=[TextPart(text="Say OK.")])],
            settings=ModelSettings(max_output_tokens=16),
        )
        outcome = StepOutcome()
        started = time.perf_counter()
        stream = resolved.provider.stream(request, Assembly("probe"), outcome)
        async with aclosing(cast("Any", stream)) as events:
            async for _ in events:
                break
        return Probe(model=outcome.model or resolved.model, seconds=time.perf_counter() - started)

    def _own_keys(self) -> ModelKeys:
        if self._keys is None:
            raise Unavailable("This process keeps no keys. Set them in its environment.")
        return self._keys

    async def _change(self, provider: str, change: Callable[[], None]) -> None:
        async with self._changing:
            await asyncio.to_thread(change)
        # The next call finds the key; calls that are under way keep the provider they have.
        self._providers.pop(provider, None)
        self._refused.pop(provider, None)
        self._list_lookout = self._new_list_lookout()

    def _unknown(self, name: str, provider: str, model: str) -> InvalidInput:
        if provider in LATER and model:
            label, _ = LATER[provider]
            built = ", ".join(f"{known}:" for known in self._makers)
            return InvalidInput(
                f"{name[:80]!r} cannot be used: {label} is not built in yet. These are: {built}."
            )
        if not model:
            return InvalidInput(
                f'{name[:80]!r} names no model; write "provider:model", such as "local:smollm2".'
            )
        known = ", ".join(f"{known}:" for known in self._makers)
        return InvalidInput(
            f"{name[:80]!r} cannot be used: there is no provider {provider[:40]!r}. Known: {known}."
        )

    def _openai(self, model: str) -> Provider:
        key = read_key(self._environ, "OPENAI_API_KEY")
        url = read_url(self._environ, "OPENAI_BASE_URL", None)
        if key is None and url is None:
            page = "add one on the Models page, or " if self._keys else ""
            raise ModelNotConfigured(
                f'"openai:{model[:60]}" needs a key: {page}set OPENAI_API_KEY, or set OPENAI_BASE_URL to a server '
                "that needs none, and start Porch again."
            )
        endpoint = Endpoint(
            label="OpenAI" if url is None else "the OpenAI-compatible server",
            base_url=url or OPENAI_URL,
            key=key,
            key_name="OPENAI_API_KEY" if self.key_ending("openai") is None else "the Models page",
            url_name="OPENAI_BASE_URL",
        )
        # OpenAI's newer models refuse `max_tokens`; many servers of the family know nothing else.
        quirks = Quirks(max_tokens="max_completion_tokens" if url is None else "max_tokens")
        return ChatCompletions(self._egress, fixed(endpoint), quirks)

    def _ollama(self, _: str) -> Provider:
        endpoint = Endpoint(
            label="Ollama",
            base_url=ollama_url(self._environ) + "/v1",
            url_name="OLLAMA_HOST",
            hint="Start it (ollama serve), or set OLLAMA_HOST to where it runs.",
        )
        return ChatCompletions(self._egress, fixed(endpoint))

    def _bundled(self, model: str) -> Provider:
        if model != BUNDLED:
            raise InvalidInput(
                f'"local:{model[:60]}" is not bundled; the bundled model is "local:{BUNDLED}".'
            )
        local = self._local
        if local is None:
            raise ModelNotConfigured(
                f'"local:{BUNDLED}" cannot run here: the bundled model is switched off. Choose another model.'
            )

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
            )

        return ChatCompletions(self._egress, locate, Quirks(tools=False))

    def _scripted(self, _: str) -> Provider:
        return Scripted()

    def _ollama_window(self, card: ModelCard) -> int:
        size = self._environ.get("OLLAMA_CONTEXT_LENGTH", "").strip()
        return int(size) if re.fullmatch(r"[1-9]\d{2,8}", size, re.ASCII) else card.context_tokens
