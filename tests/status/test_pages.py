"""`/status/latency`, from runs to the page that draws them."""

import itertools
import json
import re
import time
from datetime import UTC, datetime, timedelta

import pytest

from porch.runs import figure_store
from porch.runs.sums import Sums
from porch.status.tally import SLOWEST_RUNS, read_slowest
from porch.storage.connection import connected
from tests.conftest import FreshUrls
from tests.http.client import Client
from tests.runs.test_ledger import measured
from tests.web.conftest import House, furnished


@pytest.fixture
async def house(fresh_urls: FreshUrls):
    async with furnished(await fresh_urls(), {}) as house:
        yield house


def said(page: str) -> str:
    """What a page says, without its marks."""
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", page))


async def page_of(house: House, range_: str = "1h") -> str:
    answer = await house.ada.client.get(f"/status/latency?range={range_}")
    assert answer.status == 200, answer.body
    return answer.body.decode()


async def test_before_anything_was_asked_it_says_so(house: House) -> None:
    page = said(await page_of(house))
    assert "Nothing was asked yet" in page
    assert "nothing of this page leaves this machine" in page


async def test_it_draws_what_was_asked_and_links_the_slowest(house: House) -> None:
    conversation = await house.conversation()
    await house.say("[[stall 120ms]] [[say Slow]]", conversation)
    await house.say("[[say Quick]]")
    await house.say("[[fail after=3 overloaded]]")
    await house.runs.ledger.flush()
    page = await page_of(house)
    assert '<path class="chart-p99" d="M' in page
    assert "scripted:test" in page
    text = said(page)
    assert "Answers that end spent" in text
    assert "66.67 % of 99 %" in text
    slowest = page[page.index('id="slowest"') :]
    link = re.search(r'href="(/chat/conv_[0-9a-f]+)"', slowest)
    assert link
    assert link[1].removeprefix("/chat/") in conversation
    code = re.search(
        r'<th scope="row" class="mono">([a-z_]+)</th><td class="number">1</td>',
        page[page.index('id="failures"') :],
    )
    assert code
    assert "overloaded" in code[1]


@pytest.mark.parametrize("range_", ["1h", "24h", "7d", "30d", "for ever"])
async def test_every_range_has_the_last_run_in_it(house: House, range_: str) -> None:
    await house.say("[[say Hi]]")
    await house.runs.ledger.flush()
    page = await page_of(house, range_)
    assert "scripted:test" in page
    assert page.count('aria-current="page"') >= 1
    assert "the last 1 hour" not in page
    places = [float(place) for place in re.findall(r'<text x="([0-9.]+)%"', page)]
    steps = [after - before for before, after in itertools.pairwise(places)]
    assert steps
    assert max(steps) - min(steps) < 0.1


async def test_where_no_answer_ended_a_longer_range_is_offered_if_there_is_one(house: House) -> None:
    house.runs.ledger.start_failed(house.ada.workspace, "overloaded")
    await house.runs.ledger.flush()
    assert "No answer ended in the last hour. Choose a longer range." in said(await page_of(house))
    longest = said(await page_of(house, "30d"))
    assert "No answer ended in the last 30 days." in longest
    assert "longer range" not in longest


async def test_another_workspace_sees_nothing_of_it(house: House) -> None:
    await house.say("[[say Hi]]")
    await house.runs.ledger.flush()
    other = await house.world.tenant("grace")
    page = (await other.client.get("/status/latency")).body.decode()
    assert "Nothing was asked yet" in said(page)
    assert "scripted" not in page


async def test_how_the_server_s_starts_went_is_for_the_home_workspace_alone(house: House) -> None:
    neighbour = await house.world.tenant("neighbour")
    page = said((await neighbour.client.get("/status/latency")).body.decode())
    assert "Starts that failed" in said(await page_of(house))
    assert "Starts that failed" not in page
    assert "First start took" not in page
    assert "/metrics" not in page
    assert "From the workspace's making" in page


async def test_only_who_administers_the_workspace_sees_it(house: House) -> None:
    member: Client = await house.world.member(house.ada, "editor", ["read:*", "write:*", "run:*"])
    assert (await member.get("/status/latency")).status == 403


async def test_with_outcomes_off_it_says_that_they_are_not_counted(house: House) -> None:
    house.world.app.state.outcomes = False
    assert "This is not counted" in said(await page_of(house))


async def test_what_people_call_a_model_or_an_agent_cannot_write_into_the_page(house: House) -> None:
    run, sums = (
        measured(house.ada.workspace, agent="<b>x", answered="odd:<script>", asked="odd:<script>", calls=[]),
        Sums(),
    )
    sums.add_run(run)
    await figure_store.record_figures(house.world.database, [run], list(sums.found.values()))
    page = await page_of(house)
    assert "odd:<script>" not in page
    assert "odd:&lt;script&gt;" in page
    assert "<b>x" not in page


async def test_plans_stay_flat_whatever_the_number_of_runs(house: House) -> None:
    """A hundred thousand runs of one workspace in a month, of which ten an hour are looked at."""
    now = int(time.time())
    async with connected(house.world.urls.owner) as connection:
        await connection.execute("SET ROLE porch_definer")
        await connection.execute(
            """
            INSERT INTO porch.run_figures SELECT $1, gen_random_uuid(), ($2 - n * 25) / 3600, to_timestamp($2 - n * 25),
              'a', 'm', 'm', 'p', 'finished', NULL, false, 0, 1, 0, 9, 1, 1, 10, (n * 7919) % 5000, 6000
            FROM generate_series(1, 100000) n
            """,
            house.ada.workspace,
            now,
        )
        await connection.execute("RESET ROLE")
        await connection.execute("ANALYZE porch.run_figures")
    moment = datetime.fromtimestamp(now, UTC)
    since = moment - timedelta(days=30)
    store, workspace = house.world.database, house.ada.workspace
    found = await read_slowest(store, workspace, since, moment)
    assert [run.first_text_ms for run in found] == [4999] * 10
    hours = (int(since.timestamp()) // 3600, now // 3600)
    async with store.tenant(workspace) as connection:
        plan = await connection.fetchval(
            "EXPLAIN (ANALYZE, FORMAT JSON, TIMING off) " + SLOWEST_RUNS, workspace, *hours, since, 10
        )
    told = json.dumps(json.loads(plan))
    assert "run_figures_slowest" in told
    assert "Seq Scan" not in told.replace('"Relation Name": "workspaces"', "")
    read = [
        int(rows) for rows in re.findall(r'"Index Name": "run_figures_slowest".*?"Actual Rows": (\d+)', told)
    ]
    assert read
    assert max(read) <= 10
