"""A provider is asked as far as its address may lead, which depends on who gave it."""

from dataclasses import replace

from porch.egress import Egress, Reach
from porch.providers.chat_completions import ChatCompletions, Quirks
from porch.providers.endpoint import Endpoint, fixed
from porch.providers.transport import Retries
from tests.providers.asking import ask, endpoint
from tests.providers.upstream import DONE, SAY, STOP, answer, upstream


async def test_an_endpoint_that_says_nothing_of_its_reach_is_public() -> None:
    assert Endpoint("a label", "http://127.0.0.1/").reach is Reach.PUBLIC
    async with upstream(answer(SAY, STOP, DONE)) as place, Egress() as egress:
        anyones = replace(endpoint(place.url), reach=Reach.PUBLIC)
        refused = await ask(ChatCompletions(egress, fixed(anyones), Quirks(), Retries(first_wait=0)))
        assert place.connections == 0
        allowed = await ask(ChatCompletions(egress, fixed(endpoint(place.url)), Quirks()))
    assert allowed.text() == "Hi"
    assert refused.error is not None
    assert (refused.error.reason, refused.error.kind) == ("address_not_allowed", "bad_request")
    assert refused.error.message.startswith("OpenAI at http://127.0.0.1:")
    assert "PORCH_EGRESS_ALLOW=127.0.0.1:" in refused.error.message
    assert not refused.error.retryable
