"""Chat Completions over HTTP."""

from porch.egress import Egress
from porch.providers.assembly import Assembly
from porch.providers.chat_completions.decoder import Decoder
from porch.providers.chat_completions.encoder import encode_request
from porch.providers.chat_completions.quirks import Quirks
from porch.providers.chat_completions.thinking import refused_tools
from porch.providers.endpoint import Endpoint, Locate
from porch.providers.failures import Asked
from porch.providers.request import ModelRequest, StepOutcome, Takes
from porch.providers.streaming import DEFAULT_RETRIES, JSON_HEADERS, Call, HttpProvider, bearer
from porch.providers.transport import Retries

_DEFAULT_QUIRKS = Quirks()


class ChatCompletions(HttpProvider):
    """A provider that speaks Chat Completions at the endpoint that `locate` finds."""

    def __init__(
        self,
        egress: Egress,
        locate: Locate,
        quirks: Quirks = _DEFAULT_QUIRKS,
        retries: Retries = DEFAULT_RETRIES,
    ) -> None:
        super().__init__(egress, locate, retries)
        self._quirks = quirks
        self.takes = Takes(pictures=quirks.images, papers=quirks.files)

    def _call(
        self, endpoint: Endpoint, request: ModelRequest, assembly: Assembly, outcome: StepOutcome
    ) -> Call:
        quirks = self._quirks
        asked = Asked(endpoint, request.model)
        if why := refused_tools(request, quirks, asked.who):
            raise asked.error(why, "tools_not_taken", "bad_request")
        return Call(
            asked=asked,
            path=quirks.path,
            headers=JSON_HEADERS | bearer(endpoint),
            body=encode_request(request, quirks),
            decoder=Decoder(assembly, outcome, asked, seal=quirks.seal, think_tags=quirks.think_tags),
        )
