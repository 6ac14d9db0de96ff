"""A stream whose start is sent goes on behind the layers, unless somebody listens in on its body."""

from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from porch.http.scope import RAW_SEND, STAY, Stay, find_stay
from porch.web.listener import with_raw_send


async def receive() -> Message:
    return {"type": "http.disconnect"}


async def send(message: Message) -> None:
    """Nobody reads it."""


def test_there_is_no_way_out_where_the_server_gives_none() -> None:
    assert find_stay({"type": "http", RAW_SEND: send}) is None


def test_who_listens_in_on_a_body_keeps_it() -> None:
    async def send_changed(message: Message) -> None:
        await send(message)

    stay = Stay(receive, send)
    scope = {"type": "http", RAW_SEND: send, STAY: stay}
    assert find_stay(scope) is stay
    assert find_stay({**scope, RAW_SEND: send_changed}) is None


async def test_what_is_left_goes_on_when_all_layers_have_returned() -> None:
    happened: list[str] = []

    class Stream(Response):
        async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
            await send({"type": "http.response.start", "status": 200, "headers": []})
            stay = find_stay(scope)
            assert stay is not None
            stay.left = self.go_on

        async def go_on(self) -> None:
            happened.append("the rest")

    async def layer(scope: Scope, receive: Receive, send: Send) -> None:
        await Stream()(scope, receive, send)
        happened.append("the layer returned")

    await with_raw_send(layer)({"type": "http"}, receive, send)
    assert happened == ["the layer returned", "the rest"]
