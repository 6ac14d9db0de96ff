"""Where redirects are followed, each hop is a new question with nothing to give away."""

from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import pytest
from yarl import URL

from porch.egress import Egress, EgressError, Reach, Redirected, Reply
from porch.egress.redirects import MOST_HOPS, find_hop, find_host, strip_headers
from tests.egress.conftest import Names
from tests.providers.upstream import Behaviour, Exchange, plain, upstream

CallPublic = Callable[[str], None]
SECRETS = {"Authorization": "Bearer x", "X-Api-Key": "x", "Cookie": "a=b", "x-goog-api-key": "x"}


def to(location: str, status: int = 302) -> Behaviour:
    return plain(status, b"", Location=location)


def port(url: str) -> int:
    return urlsplit(url).port or 0


async def follow(egress: Egress, url: str, **how: Any) -> Reply:
    reply = await egress.get(url, headers={**SECRETS, "Accept": "image/*"}, seconds=5, follow=True, **how)
    reply.close()
    return reply


@pytest.fixture
def names(call_public: CallPublic) -> Names:
    """Two public sites, and one that leads inside."""
    call_public("127.0.0.1")
    return Names(one_example=[["127.0.0.1"]], two_example=[["127.0.0.1"]], inside_example=[["::1"]])


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_hop_to_another_origin_takes_no_credentials_along(names: Names, status: int) -> None:
    async with upstream(plain(200, b"there")) as two:
        away = f"http://two.example:{port(two.url)}/image"
        async with upstream(to(away, status)) as one, Egress(names=names) as egress:
            assert (await follow(egress, f"http://one.example:{port(one.url)}/")).status == 200
    first, second = one.requests[0].head.lower(), two.requests[0].head.lower()
    assert second.startswith("get /image ")
    assert "accept: image/*" in second
    for name in SECRETS:
        assert f"{name.lower()}:" in first
        assert f"{name.lower()}:" not in second


async def test_a_hop_on_the_same_origin_keeps_them(names: Names) -> None:
    async with upstream(to("/image"), plain(200)) as one, Egress(names=names) as egress:
        await follow(egress, f"http://one.example:{port(one.url)}/")
    assert one.requests[1].head.startswith("GET /image ")
    assert "authorization: bearer x" in one.requests[1].head.lower()


@pytest.mark.parametrize(
    "away",
    [
        "http://[::1]:{port}/",
        "http://inside.example:{port}/",
        "//inside.example:{port}/",
        "http://2130706433:{port}/",
    ],
)
async def test_no_hop_leads_inside(names: Names, away: str) -> None:
    async with (
        upstream(plain(200, b"inside")) as inside,
        upstream(to(away.format(port=port(inside.url)))) as one,
        Egress(names=names) as egress,
    ):
        with pytest.raises(EgressError) as caught:
            await follow(egress, f"http://one.example:{port(one.url)}/")
    assert caught.value.cause == "forbidden"
    assert inside.connections == 0


async def test_a_hop_away_from_the_operators_server_is_anyones_word(names: Names) -> None:
    names.answers["inside.example"] = [["::1"]]
    async with upstream(to("http://inside.example/")) as one, Egress(names=names) as egress:
        with pytest.raises(EgressError) as caught:
            await follow(egress, one.url, reach=Reach.OPERATOR)
    assert caught.value.cause == "forbidden"


async def test_a_user_in_a_redirect_is_refused(names: Names) -> None:
    async with upstream(to("http://user:pw@two.example/")) as one, Egress(names=names) as egress:
        with pytest.raises(EgressError) as caught:
            await follow(egress, f"http://one.example:{port(one.url)}/")
    assert caught.value.cause == "address"
    assert "pw" not in caught.value.message


async def test_hops_are_counted(names: Names) -> None:
    async with upstream(*[to("/again")] * MOST_HOPS, plain(200)) as one, Egress(names=names) as egress:
        assert (await follow(egress, f"http://one.example:{port(one.url)}/")).status == 200
    async with upstream(to("/again")) as one, Egress(names=names) as egress:
        with pytest.raises(Redirected, match="one redirect too many"):
            await follow(egress, f"http://one.example:{port(one.url)}/")
    assert len(one.requests) == MOST_HOPS + 1


async def test_hops_share_the_time_that_the_head_has(names: Names) -> None:
    async def never(exchange: Exchange) -> None:
        await exchange.hold()

    async with upstream(to("/again"), never) as one, Egress(names=names) as egress:
        with pytest.raises(EgressError) as caught:
            await egress.get(f"http://one.example:{port(one.url)}/", headers={}, seconds=0.2, follow=True)
    assert caught.value.cause == "timeout"


def test_encryption_is_never_given_up() -> None:
    with pytest.raises(Redirected, match=r"to 'two\.example' \(302\).*without encryption"):
        find_hop(URL("https://one.example/"), 302, "http://two.example/")
    assert find_hop(URL("http://one.example/"), 302, "https://two.example/x") == URL("https://two.example/x")
    assert find_hop(URL("https://one.example/a/b"), 302, "c?d") == URL("https://one.example/a/c?d")


@pytest.mark.parametrize(
    "location",
    [
        "",
        "ftp://two.example/",
        "http://",
        "http://[::1",
        "http://[]@/",
        "//[]@",
        "javascript:alert(1)",
        "http://h:99999/",
    ],
)
def test_a_redirect_to_nowhere_is_an_error(location: str) -> None:
    with pytest.raises(Redirected, match="does not say where"):
        find_hop(URL("https://one.example/"), 302, location)


def test_only_the_host_of_a_redirect_is_told() -> None:
    asked = URL("https://one.example/")
    assert find_host(asked, "https://user:pw@two.example:8443/token/abc?key=x#y") == "two.example"
    assert find_host(asked, "/elsewhere") == "one.example"


def test_an_unknown_header_is_a_credential_until_proven_otherwise() -> None:
    assert strip_headers({**SECRETS, "accept": "a", "Range": "b", "X-New-Secret": "c"}) == {
        "accept": "a",
        "Range": "b",
    }
