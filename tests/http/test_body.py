"""Bodies: how large, of what type, and what is wrong with them."""

import gzip
from collections.abc import Iterator

import pytest

from tests.http.app import DEFINITION, Tenant

MIB = 1024 * 1024
JSON = {"content-type": "application/json"}


async def test_a_body_over_the_limit_is_413_and_names_the_limit(ada: Tenant) -> None:
    answer = await ada.client.post(f"{ada.path}/agents", body=b"x" * (10 * MIB), headers=JSON)
    assert (answer.status, answer.code) == (413, "too_large")
    assert "1,048,576 bytes" in answer.json["detail"]


async def test_a_body_without_a_length_is_counted_as_it_comes_and_read_no_further(ada: Tenant) -> None:
    taken = 0

    def endless() -> Iterator[bytes]:
        nonlocal taken
        for _ in range(10 * 16):
            taken += 1
            yield b"x" * (MIB // 16)

    answer = await ada.client.post(f"{ada.path}/agents", chunks=endless(), headers=JSON)
    assert (answer.status, answer.code) == (413, "too_large")
    assert taken == 17


@pytest.mark.parametrize("length", ["9" * 25, "99999999999999999999"])
async def test_an_absurd_length_is_413(ada: Tenant, length: str) -> None:
    answer = await ada.client.post(
        f"{ada.path}/agents", body=b"{}", headers={**JSON, "content-length": length}
    )
    assert answer.status == 413


async def test_a_lie_about_the_length_is_counted(ada: Tenant) -> None:
    answer = await ada.client.post(
        f"{ada.path}/agents", chunks=[b"x" * MIB, b"x"], headers={**JSON, "content-length": "2"}
    )
    assert answer.status == 413


async def test_a_body_of_just_the_limit_is_read(ada: Tenant) -> None:
    body = b'{"name": "helper"' + b" " * (MIB - 18) + b"}"
    assert len(body) == MIB
    answer = await ada.client.post(f"{ada.path}/agents", body=body, headers=JSON)
    assert answer.code == "invalid_input"


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"content-type": "text/plain"},
        {"content-type": "application/x-www-form-urlencoded"},
        {"content-type": "multipart/form-data; boundary=x"},
        {"content-type": "application/json; charset=utf-16"},
        {"content-type": "application/jsonp"},
        {"content-type": "text/plain, application/json"},
    ],
)
async def test_a_body_of_another_type_is_415_and_says_which_to_send(
    ada: Tenant, headers: dict[str, str]
) -> None:
    answer = await ada.client.post(f"{ada.path}/agents", body=b'{"a": 1}', headers=headers)
    assert (answer.status, answer.code) == (415, "unsupported_media_type")
    assert "JSON" in answer.json["detail"]


async def test_a_compressed_body_is_415_and_says_how_to_send_it(ada: Tenant) -> None:
    zipped = gzip.compress(b'{"a": 1}')
    answer = await ada.client.post(
        f"{ada.path}/agents", body=zipped, headers={**JSON, "content-encoding": "gzip"}
    )
    assert (answer.status, answer.code) == (415, "unsupported_media_type")
    assert "'Content-Encoding: gzip'" in answer.json["detail"]
    assert "send it as it is" in answer.json["detail"]
    plain = {**JSON, "content-encoding": "identity"}
    answer = await ada.client.post(f"{ada.path}/agents", body=b'{"a": 1}', headers=plain)
    assert answer.code == "invalid_input"


@pytest.mark.parametrize(
    "kind", ["application/json", "Application/JSON; charset=UTF-8", "application/merge-patch+json"]
)
async def test_json_by_any_of_its_names_is_read(ada: Tenant, kind: str) -> None:
    answer = await ada.client.post(f"{ada.path}/agents", body=b'{"a": 1}', headers={"content-type": kind})
    assert answer.code == "invalid_input"


@pytest.mark.parametrize(
    ("body", "status", "said"),
    [
        (b"{", 400, "line 1, column 2"),
        (b'{"name": "a",\n "b" 1}', 400, "line 2, column 6"),
        (b'{"a": 1} x', 400, "line 1, column 10"),
        (b"nope", 400, "line 1, column 1"),
        (b"   ", 400, "line 1"),
        (b'{"a": "\xff"}', 400, "byte 7 is 0xff"),
        (b"\xff\xfe{\x00}\x00", 400, "not UTF-8"),
        (b"\xef\xbb\xbf{}", 400, "byte order mark"),
        (b'{"a": NaN}', 422, "NaN"),
        (b'{"a": -Infinity}', 422, "Infinity"),
        (b"1" * 10_000, 422, "number"),
        (b'{"a": 1e999}', 422, "number"),
        (b'{"a": "\\ud800"}', 422, "surrogate"),
        (b'{"a": "\\udc00\\ud800"}', 422, "surrogate"),
        (b"[" * 200_000, 422, "nested too deeply"),
        (b'{"a":' * 100_000, 422, "nested too deeply"),
    ],
    ids=range(16),
)
async def test_what_is_no_json_is_said_with_its_place(
    ada: Tenant, body: bytes, status: int, said: str
) -> None:
    for method in ("POST", "PUT", "PATCH"):
        path = f"{ada.path}/agents" if method == "POST" else f"{ada.path}/agents/x"
        answer = await ada.client.request(method, path, body=body, headers=JSON)
        assert (answer.status, answer.code) == (status, "bad_request" if status == 400 else "invalid_input")
        assert said in answer.json["detail"]
        assert len(answer.json["detail"]) < 400


@pytest.mark.parametrize("path", ["agents", "tokens"])
async def test_no_body_where_one_is_needed_is_422(ada: Tenant, path: str) -> None:
    answer = await ada.client.post(f"{ada.path}/{path}")
    assert (answer.status, answer.code) == (422, "invalid_input")


@pytest.mark.parametrize("body", [b"[]", b"null", b'"text"', b"3", b"true"])
@pytest.mark.parametrize("path", ["agents", "tokens"])
async def test_json_that_is_no_object_is_422(ada: Tenant, path: str, body: bytes) -> None:
    answer = await ada.client.post(f"{ada.path}/{path}", body=body, headers=JSON)
    assert (answer.status, answer.code) == (422, "invalid_input")


async def test_surrogate_pairs_and_right_to_left_text_are_kept(ada: Tenant) -> None:
    text = "שלום 😀 \u202ertl\u202c"
    made = await ada.client.post(f"{ada.path}/agents", json={**DEFINITION, "instructions": text})
    assert made.status == 201
    assert made.json["definition"]["instructions"] == text
