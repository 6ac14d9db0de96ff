"""Messages over HTTP."""

from porch.egress import Egress
from porch.providers.assembly import Assembly
from porch.providers.endpoint import Endpoint, Locate
from porch.providers.failures import Asked
from porch.providers.messages.decoder import Decoder
from porch.providers.messages.encoder import encode_request
from porch.providers.messages.quirks import FindQuirks, Quirks, find_quirks
from porch.providers.request import ModelRequest, StepOutcome, Takes
from porch.providers.streaming import DEFAULT_RETRIES, JSON_HEADERS, Call, HttpProvider, bearer
from porch.providers.transport import Retries

API = "Anthropic's Messages API"


class Messages(HttpProvider):
    """A provider that speaks Messages at the endpoint that `locate` finds; `quirks` tells a model's by its name."""

    takes = Takes()

    def __init__(
        self,
        egress: Egress,
        locate: Locate,
        quirks: FindQuirks = find_quirks,
        retries: Retries = DEFAULT_RETRIES,
    ) -> None:
        super().__init__(egress, locate, retries)
        self._quirks = quirks

    def _call(
        self, endpoint: Endpoint, request: ModelRequest, assembly: Assembly, outcome: StepOutcome
    ) -> Call:
        asked = Asked(endpoint, request.model, API)
        quirks = self._quirks(request.model)
        encoded = encode_request(request, quirks)
        return Call(
            asked=asked,
            path=quirks.path,
            headers=headers(endpoint, quirks),
            body=encoded.body,
            decoder=Decoder(assembly, outcome, asked, answer_tool=encoded.answer_tool),
        )


def headers(endpoint: Endpoint, quirks: Quirks) -> dict[str, str]:
    """The request's headers, with the key as the server wants it."""
    found = JSON_HEADERS | {"anthropic-version": quirks.version}
    if quirks.betas:
        found["anthropic-beta"] = ",".join(quirks.betas)
    if quirks.auth == "bearer":
        return found | bearer(endpoint)
    return found | ({"x-api-key": endpoint.key} if endpoint.key else {})
