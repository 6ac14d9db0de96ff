"""A model tried on the spot: its words as they come, and how soon they came."""

from collections.abc import AsyncIterator
from contextlib import aclosing

import pytest

from porch.contract.errors import InvalidInput, ModelError
from porch.egress import Egress
from porch.models import Models, Trial, trials
from tests.home import AT_HOME, HOME
from tests.providers.asking import KEY
from tests.providers.upstream import DONE, SAY, STOP, Behaviour, answer, hang, plain, then, upstream

THINK = b'data: {"model":"real-1","choices":[{"index":0,"delta":{"reasoning":"Hm"}}]}\n\n'
USED = b'data: {"choices":[],"usage":{"prompt_tokens":9,"completion_tokens":2,"cost":0.5}}\n\n'
GOOD = answer(THINK, SAY, SAY, STOP, USED, DONE)


@pytest.fixture
async def egress() -> AsyncIterator[Egress]:
    async with Egress() as egress:
        yield egress


async def tried(egress: Egress, behaviour: Behaviour) -> tuple[list[str], Trial | None]:
    async with upstream(behaviour) as place:
        models = Models({"OPENROUTER_BASE_URL": place.url, "OPENROUTER_API_KEY": KEY}, egress, AT_HOME)
        words: list[str] = []
        async with aclosing(models.trial("openrouter:a/b", HOME)) as items:
            async for item in items:
                if isinstance(item, Trial):
                    return words, item
                words.append(item)
    return words, None


async def test_its_words_come_and_then_who_said_them_when_and_for_how_much(egress: Egress) -> None:
    words, trial = await tried(egress, GOOD)
    assert words == ["Hi", "Hi"], "what it thinks is not said"
    assert trial is not None
    assert trial.model == "openrouter:real-1"
    assert trial.first_token_seconds is not None
    assert 0 < trial.first_token_seconds <= trial.seconds
    assert trial.usage is not None
    assert trial.usage.cost is not None
    assert (trial.usage.input_tokens, trial.usage.cost.amount) == (9, "0.5")


async def test_an_answer_without_a_word_has_no_first_token(egress: Egress) -> None:
    words, trial = await tried(egress, answer(STOP, DONE))
    assert words == []
    assert trial is not None
    assert trial.first_token_seconds is None


@pytest.mark.parametrize("behaviour", [plain(401), then(SAY, end=plain(500))])
async def test_a_model_that_fails_raises_its_error(egress: Egress, behaviour: Behaviour) -> None:
    with pytest.raises(ModelError):
        await tried(egress, behaviour)


async def test_long_silence_is_an_error(egress: Egress, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trials, "SILENT_SECONDS", 0.05)
    with pytest.raises(ModelError, match="did not answer in time"):
        await tried(egress, hang)


async def test_a_name_that_nothing_answers_to_is_said_at_once(egress: Egress) -> None:
    with pytest.raises(InvalidInput):
        Models({}, egress, AT_HOME).trial("nobody:m", HOME)
