"""Addresses out of the environment are the operator's word; those that are built in are not."""

from porch.egress import Egress
from porch.models.service import Models
from tests.egress.conftest import Names
from tests.home import AT_HOME, HOME
from tests.providers.asking import KEY, ask
from tests.providers.upstream import DONE, SAY, STOP, answer, upstream


async def test_a_built_in_address_that_leads_inside_gets_no_key() -> None:
    names = Names(api_openai_com=[["127.0.0.1"]])
    async with Egress(names=names) as egress:
        models = Models({"OPENAI_API_KEY": KEY}, egress, AT_HOME)
        result = await ask(models.resolve("openai:gpt-4o", HOME).provider)
    assert names.asked == ["api.openai.com"]
    assert result.error is not None
    assert result.error.reason == "address_not_allowed"


async def test_an_address_of_the_environment_may_lead_inside() -> None:
    async with upstream(answer(SAY, STOP, DONE)) as place:
        url = place.url.replace("127.0.0.1", "gpu.example")
        async with Egress(names=Names(gpu_example=[["127.0.0.1"]])) as egress:
            models = Models({"OPENAI_BASE_URL": url, "OPENAI_API_KEY": KEY}, egress, AT_HOME)
            result = await ask(models.resolve("openai:m", HOME).provider)
    assert result.text() == "Hi"
