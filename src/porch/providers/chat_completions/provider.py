"""Chat Completions over HTTP: endpoint, body, transport and decoder joined."""

from collections.abc import AsyncGenerator

from porch.contract.events import AnyEvent
from porch.egress import Egress, EgressError
from porch.providers.assembly import Assembly
from porch.providers.chat_completions.decoder import Decoder
from porch.providers.chat_completions.encoder import encode_request
from porch.providers.chat_completions.quirks import Quirks
from porch.providers.endpoint import Endpoint, Locate
from porch.providers.failures import Asked, egress_failure
from porch.providers.request import ModelRequest, StepOutcome
from porch.providers.transport import Retries, open_stream

SETTLE_SECONDS = 10.0
_DEFAULT_QUIRKS = Quirks()
_DEFAULT_RETRIES = Retries()


class ChatCompletions:
    """A provider that speaks Chat Completions at the endpoint that `locate` finds."""

    def __init__(
        self,
        egress: Egress,
        locate: Locate,
        quirks: Quirks = _DEFAULT_QUIRKS,
        retries: Retries = _DEFAULT_RETRIES,
    ) -> None:
        self._egress = egress
        self._locate = locate
        self._quirks = quirks
        self._retries = retries

    async def stream(
        self, request: ModelRequest, assembly: Assembly, outcome: StepOutcome
    ) -> AsyncGenerator[list[AnyEvent], None]:
        """One model call; see `Provider`."""
        endpoint = await self._locate()
        asked = Asked(endpoint, request.model)
        decoder = Decoder(assembly, outcome, asked)
        body = encode_request(request, self._quirks)
        reply, data = await open_stream(
            self._egress,
            asked,
            path=self._quirks.path,
            headers=headers(endpoint),
            body=body,
            retries=self._retries,
        )
        waiting = True
        try:
            while data:
                decoder.feed(data)
                if events := assembly.take():
                    yield events
                if decoder.done:
                    break
                if decoder.ended and waiting:
                    waiting = False
                    reply.expect_silence(min(SETTLE_SECONDS, self._egress.settings.idle_seconds))
                try:
                    data = await reply.read()
                except EgressError as error:
                    if not decoder.ended:
                        raise egress_failure(asked, error) from error
                    break
            decoder.finish()
            if events := assembly.take():
                yield events
            self._egress.settle(reply)
        finally:
            reply.close()


def headers(endpoint: Endpoint) -> dict[str, str]:
    """The request's headers, with the key where there is one."""
    common = {"Content-Type": "application/json", "Accept": "text/event-stream, application/json"}
    return common | ({"Authorization": f"Bearer {endpoint.key}"} if endpoint.key else {})
