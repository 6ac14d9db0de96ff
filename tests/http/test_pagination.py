"""Lists in pages."""

import base64
from uuid import UUID

import pytest

from porch.http.pagination import encode_cursor
from tests.http.app import DEFINITION, Tenant


async def test_pages_hold_every_item_once_and_end(ada: Tenant) -> None:
    names = [f"a{n}" for n in range(5)]
    for name in names:
        await ada.client.post(f"{ada.path}/agents", json={**DEFINITION, "name": name})
    seen: list[str] = []
    sizes: list[int] = []
    query = "?limit=2"
    while True:
        page = (await ada.client.get(f"{ada.path}/agents{query}")).json
        seen += [item["handle"] for item in page["items"]]
        sizes.append(len(page["items"]))
        if page["next_cursor"] is None:
            break
        query = f"?limit=2&cursor={page['next_cursor']}"
    assert seen == names[::-1]
    assert sizes == [2, 2, 1]


async def test_a_list_of_just_the_limit_has_no_next_page(ada: Tenant) -> None:
    await ada.client.post(f"{ada.path}/agents", json=DEFINITION)
    assert (await ada.client.get(f"{ada.path}/agents?limit=1")).json["next_cursor"] is None


@pytest.mark.parametrize("limit", ["0", "-1", "201", "9" * 30, "ten", "", "1.5", "1e2", "%00"])
async def test_a_limit_out_of_range_is_422_and_named(ada: Tenant, limit: str) -> None:
    answer = await ada.client.get(f"{ada.path}/agents?limit={limit}")
    assert (answer.status, answer.code) == (422, "invalid_input")
    assert answer.json["errors"][0]["parameter"] == "limit"


def encoded(text: bytes) -> str:
    return base64.urlsafe_b64encode(text).decode()


@pytest.mark.parametrize(
    "cursor",
    [
        "",
        "x",
        "%00",
        "%ff",
        "a" * 201,
        "../..",
        encoded(b"agents:"),
        encoded(b"agents:nonsense"),
        encoded(b"agents:" + b"g" * 32),
        encoded(b"agents:\xff\xfe"),
        encoded(b"agents:-0199a1b2c3d47e5f8a9b0c1d2e3f4a5"),
        encode_cursor("tokens", UUID(int=7)),
        encode_cursor("agents", 7),
    ],
)
async def test_a_cursor_of_elsewhere_is_422_and_says_how_to_begin(ada: Tenant, cursor: str) -> None:
    answer = await ada.client.get(f"{ada.path}/agents?cursor={cursor}")
    assert (answer.status, answer.code) == (422, "invalid_input")


@pytest.mark.parametrize("number", ["", "-1", "²", "9" * 20, "x"])
async def test_a_cursor_with_an_odd_number_is_422(ada: Tenant, number: str) -> None:
    await ada.client.post(f"{ada.path}/agents", json=DEFINITION)
    cursor = encoded(f"versions:{number}".encode())
    answer = await ada.client.get(f"{ada.path}/agents/helper/versions?cursor={cursor}")
    assert (answer.status, answer.code) == (422, "invalid_input")
