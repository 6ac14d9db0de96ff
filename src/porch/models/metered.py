"""A provider with what Porch knows of its models: limits, prices, and whether the key was taken."""

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import replace
from typing import Any, cast

import msgspec

from porch.contract.errors import ModelError
from porch.contract.events import AnyEvent, UsageReported
from porch.models.catalogue import find_card
from porch.models.prices import Price, find_price
from porch.providers.assembly import Assembly
from porch.providers.request import ModelRequest, Provider, StepOutcome

NoteKey = Callable[[bool], Awaitable[None]]
# A key may be good and still not ask for everything: `model_access` says that.
REFUSED_KEY = "model_auth"


class Metered:
    """Asks `inner`. `note` is told whether the key was refused, once for each call; None where there is no key.

    `name` is the provider's in the tables; `priced` says that its prices hold, which they do at its own address.
    """

    def __init__(self, inner: Provider, name: str, *, priced: bool, note: NoteKey | None = None) -> None:
        self._inner = inner
        self._name = name
        self._priced = priced
        self._note = note
        self.takes = inner.takes

    async def stream(
        self, request: ModelRequest, assembly: Assembly, outcome: StepOutcome
    ) -> AsyncGenerator[list[AnyEvent], None]:
        """One model call; see `Provider`."""
        price = find_price(self._name, request.model) if self._priced else None
        request = _within_limits(request, find_card(self._name, request.model).max_output_tokens)
        note = self._note
        stream = cast("Any", self._inner.stream(request, assembly, outcome))
        try:
            async with aclosing(stream) as answers:
                async for events in answers:
                    if note is not None:
                        await note(False)
                        note = None
                    if price is not None and _reports_usage(events):
                        yield _priced(events, price, request)
                    else:
                        yield events
        except ModelError as error:
            if price is not None:
                _price_rest(assembly, price, request)
            if error.reason == REFUSED_KEY and note is not None:
                await note(True)
            raise


def _within_limits(request: ModelRequest, longest: int | None) -> ModelRequest:
    """A longer answer than the model can give is refused by most providers, not cut."""
    asked = request.settings.max_output_tokens
    if longest is None or asked is None or asked <= longest:
        return request
    settings = msgspec.structs.replace(request.settings, max_output_tokens=longest)
    return replace(request, settings=settings)


def _reports_usage(events: list[AnyEvent]) -> bool:
    # Asked of every delta: any() would cost three times as much.
    for event in events:  # noqa: SIM110
        if type(event) is UsageReported:
            return True
    return False


def _price_rest(assembly: Assembly, price: Price, request: ModelRequest) -> None:
    """What a call that failed had used is told with what it cost, and stays where the run will look for it."""
    for event in _priced(assembly.take(), price, request):
        assembly.add(event)


def _priced(events: list[AnyEvent], price: Price, request: ModelRequest) -> list[AnyEvent]:
    """The events with a cost at each report of usage that the provider gave none for."""
    written = bool(request.settings.cache)
    return [
        msgspec.structs.replace(event, cost=price.cost(event, cache_written=written))
        if isinstance(event, UsageReported) and event.cost is None
        else event
        for event in events
    ]
