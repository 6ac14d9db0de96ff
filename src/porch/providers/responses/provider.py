"""Responses over HTTP."""

from porch.egress import Egress
from porch.providers.assembly import Assembly
from porch.providers.endpoint import Endpoint, Locate
from porch.providers.failures import Asked
from porch.providers.request import ModelRequest, StepOutcome, Takes
from porch.providers.responses.decoder import Decoder
from porch.providers.responses.encoder import encode_request
from porch.providers.responses.quirks import Quirks
from porch.providers.streaming import DEFAULT_RETRIES, JSON_HEADERS, Call, HttpProvider, bearer
from porch.providers.transport import Retries

SETTLE_SECONDS = 0.25  # the terminal event holds everything, usage included
_DEFAULT_QUIRKS = Quirks()


class Responses(HttpProvider):
    """A provider that speaks Responses at the endpoint that `locate` finds."""

    takes = Takes()

    def __init__(
        self,
        egress: Egress,
        locate: Locate,
        quirks: Quirks = _DEFAULT_QUIRKS,
        retries: Retries = DEFAULT_RETRIES,
    ) -> None:
        super().__init__(egress, locate, retries)
        self._quirks = quirks

    def _call(
        self, endpoint: Endpoint, request: ModelRequest, assembly: Assembly, outcome: StepOutcome
    ) -> Call:
        quirks = self._quirks
        asked = Asked(endpoint, request.model, "OpenAI's Responses API")
        return Call(
            asked=asked,
            path=quirks.path,
            headers=JSON_HEADERS | bearer(endpoint),
            body=encode_request(request, quirks),
            decoder=Decoder(assembly, outcome, asked, seal=quirks.seal, seal_plain=quirks.seal_plain),
            settle=SETTLE_SECONDS,
        )
