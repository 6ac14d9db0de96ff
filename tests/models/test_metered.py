"""What an answer cost, where the provider does not say it."""

from collections.abc import AsyncGenerator
from decimal import Decimal

import pytest

from porch.contract.definition import ModelSettings
from porch.contract.errors import ModelError
from porch.contract.events import AnyEvent, Cost, Usage, UsageReported
from porch.egress import Egress
from porch.models import Models
from porch.models.metered import Metered
from porch.models.prices import Price, find_price, priced_models, spell
from porch.providers.assembly import Assembly
from porch.providers.request import ModelRequest, StepOutcome, Takes
from tests.home import AT_HOME, HOME
from tests.providers.asking import ask, request

OWN = Cost(amount="7", currency="USD", priced_at="2026-01-01")
PRICE = Price(Decimal("0.15"), Decimal("0.60"), Decimal("0.075"), "USD", "2026-01-01")


class Speaker:
    """A provider that reports usage, and a cost where it has one."""

    takes = Takes()

    def __init__(self, cost: Cost | None = None) -> None:
        self.cost = cost

    async def stream(
        self, request: ModelRequest, assembly: Assembly, outcome: StepOutcome
    ) -> AsyncGenerator[list[AnyEvent], None]:
        assembly.delta("t", "text", "Hi")
        assembly.end("t")
        assembly.usage(1_000_000, 2_000_000, cost=self.cost)
        yield assembly.take()


class Failing(Speaker):
    """Reports usage, and then fails before anybody took it."""

    async def stream(
        self, request: ModelRequest, assembly: Assembly, outcome: StepOutcome
    ) -> AsyncGenerator[list[AnyEvent], None]:
        yield []
        assembly.delta("t", "text", "Hi")
        assembly.usage(1_000_000, 0, cost=self.cost)
        raise ModelError("It broke off.", code="cut", category="cut")


async def cost(metered: Metered, model: str, *, cache: bool | None = None) -> Cost | None:
    said = await ask(metered, request(model=model, settings=ModelSettings(cache=cache)))
    assert said.text() == "Hi"
    return said.usage[-1].cost


async def test_a_cost_is_reckoned_where_the_provider_gives_none() -> None:
    price = find_price("openai", "gpt-4o-mini")
    assert price is not None
    found = await cost(Metered(Speaker(), "openai", priced=True), "gpt-4o-mini")
    assert found == Cost(
        amount=spell(price.input + 2 * price.output), currency="USD", priced_at=price.priced_at
    )
    assert await cost(Metered(Speaker(OWN), "openai", priced=True), "gpt-4o-mini") == OWN


async def test_what_a_model_costs_here_can_be_asked() -> None:
    models = Models({"ANTHROPIC_BASE_URL": "http://gateway/v1"}, Egress(), AT_HOME)
    assert models.price_of("openai:gpt-4o-mini", HOME) == find_price("openai", "gpt-4o-mini")
    assert models.price_of("anthropic:claude-haiku-4-5", HOME) is None, "the gateway has prices of its own"
    assert models.price_of("scripted:demo", HOME) is None


async def test_no_cost_is_guessed() -> None:
    assert await cost(Metered(Speaker(), "openai", priced=False), "gpt-4o-mini") is None
    assert await cost(Metered(Speaker(), "openai", priced=True), "gpt-4o-mini-audio") is None
    assert await cost(Metered(Speaker(), "nobody", priced=True), "gpt-4o-mini") is None
    anthropic = Metered(Speaker(), "anthropic", priced=True)
    assert await cost(anthropic, "claude-haiku-4-5") is not None
    assert await cost(anthropic, "claude-haiku-4-5", cache=True) is None, "writing the cache costs more"


async def test_what_a_failed_call_had_used_is_priced_and_left_where_it_was() -> None:
    price = find_price("openai", "gpt-4o-mini")
    assert price is not None
    for own, amount in ((None, spell(price.input)), (OWN, OWN.amount)):
        assembly = Assembly("s1")
        stream = Metered(Failing(own), "openai", priced=True).stream(
            request(model="gpt-4o-mini"), assembly, StepOutcome()
        )
        assert await anext(stream) == []
        with pytest.raises(ModelError):
            await anext(stream)
        *_, usage = assembly.take()
        assert isinstance(usage, UsageReported)
        assert usage.cost is not None
        assert usage.cost.amount == amount


def test_a_dated_name_costs_what_the_model_does_and_nothing_else_that_begins_alike() -> None:
    assert find_price("openai", "gpt-4o-mini-2024-07-18") == find_price("openai", "gpt-4o-mini")
    assert find_price("anthropic", "claude-haiku-4-5-20251001") == find_price("anthropic", "claude-haiku-4-5")
    assert find_price("openai", "gpt-4o-mini-search-preview") is None
    assert find_price("openai-responses", "gpt-4o-mini") == find_price("openai", "gpt-4o-mini")


def test_what_was_read_from_the_cache_costs_less() -> None:
    usage = Usage(input_tokens=1000, output_tokens=10, cached_input_tokens=400)
    assert PRICE.cost(usage) == Cost(amount="0.000126", currency="USD", priced_at="2026-01-01")
    unknown = Price(Decimal(1), Decimal(1), None, "USD", "2026-01-01")
    assert unknown.cost(usage) is None
    assert unknown.cost(Usage(input_tokens=1, output_tokens=0)) is not None
    beyond = Usage(input_tokens=1, output_tokens=0, cached_input_tokens=5)
    assert PRICE.cost(beyond) == Cost(amount="0.000000075", currency="USD", priced_at="2026-01-01")


def test_a_prompt_beyond_the_priced_length_has_no_known_cost() -> None:
    short = Price(Decimal(1), Decimal(1), Decimal(1), "USD", "2026-01-01", up_to=100)
    assert short.cost(UsageReported(input_tokens=100, output_tokens=1)) is not None
    assert short.cost(UsageReported(input_tokens=101, output_tokens=1)) is None


@pytest.mark.parametrize("model", ["gpt-6-luna", "gpt-6.1-terra", "gpt-5.6-sol"])
def test_a_prompt_long_enough_to_be_written_into_openais_cache_has_no_known_cost(model: str) -> None:
    price = find_price("openai-responses", model)
    assert price is not None
    assert price.cost(UsageReported(input_tokens=1023, output_tokens=1)) is not None
    assert price.cost(UsageReported(input_tokens=1024, output_tokens=1)) is None


@pytest.mark.parametrize(
    ("amount", "text"), [("10", "10"), ("0.50", "0.5"), ("1E-9", "0.000000001"), ("0", "0")]
)
def test_amounts_are_plain_decimals(amount: str, text: str) -> None:
    assert spell(Decimal(amount)) == text


def test_the_table_of_prices_is_dated_and_plausible() -> None:
    for provider in ("openai", "anthropic"):
        assert priced_models(provider)
        for name in priced_models(provider):
            price = find_price(provider, name)
            assert price is not None
            assert price.priced_at >= "2025"
            assert 0 < price.input <= price.output
            assert price.cached is None or price.cached <= price.input
