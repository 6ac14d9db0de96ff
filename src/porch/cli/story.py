"""What `porch hello` tells once a server answers: the model, the agent, the question, figures, and what is next."""

import asyncio
import json
import time
from pathlib import Path
from typing import Any

import msgspec

from porch.agents.templates import BUNDLED, find_template
from porch.cli.attach import Link
from porch.cli.chain import Chain
from porch.cli.chat import answer, converse
from porch.cli.commands import tell_commands
from porch.cli.invocation import Invocation, program
from porch.cli.prose import Prose
from porch.cli.reply import Outcome, result_of
from porch.cli.start import Start
from porch.cli.terminal import paint
from porch.client import ApiError

AGENT = "hello"
DEMO = "the small demo model that came along"
POLL_SECONDS = 0.03


class Story:
    """One `hello`, on a server that answers. `aside` takes everything but the answer."""

    def __init__(self, invocation: Invocation, link: Link, aside: Prose, start: Start) -> None:
        self._invocation = invocation
        self._link = link
        self._aside = aside
        self._start = start
        self._conversation = ""
        self._model = ""

    def prepare(self, model: Chain | None, default: str | None) -> None:
        """Tell that the server is there; have the agent, a conversation, and the model if it is the bundled one."""
        server = self._link.server
        if server.started:
            self._start.served(server.url)
        else:
            self._start.done("Server", None, f"{server.url}, which is running already")
        self._link.run(self._prepare(model, default))

    def ask(self, question: str, prose: Prose) -> Outcome:
        """Ask, show the answer as it comes, and its figures."""
        self._aside.line()
        self._aside.line(f"› {question}", "bold")
        self._aside.line()
        outcome = self._link.run(
            answer(
                self._link.client,
                self._conversation,
                question,
                prose,
                self._aside,
                quiet=self._invocation.json,
            )
        )
        if outcome.status == "finished":
            self._aside.line()
            self._aside.line(outcome.figures, "cyan")
            demo = f", {DEMO}" if outcome.model.startswith("local:") else ""
            self._aside.line(f"answered by {outcome.model or self._model}{demo}", "dim")
        return outcome

    def tell_what_next(self) -> None:
        """The commands that lead on, and the better models that are at hand."""
        call, options = program(), self._invocation.options
        steps = [
            (f"{call} hello{options} --model {name}", why)
            for name, why in self._link.run(better_models(self._invocation.settings().data_dir))
        ]
        address = f"@{self._link.server.workspace}/{AGENT}"
        steps += [
            (f"{call} chat{options} {address}", "talk on with this agent"),
            (f"{call} new{options} my-agent", "make an agent of your own"),
        ]
        if not self._link.server.lasting:
            steps.append((f"{call} up{options}", "keep the server running, and open its pages"))
        self._aside.line()
        self._aside.line("Next", "bold")
        tell_commands(self._aside, steps)
        if self._link.server.lasting and (link := self._link.run(self._sign_in_link())):
            self._aside.line()
            self._aside.line("Or open the pages; this link signs a browser in, once:", "dim")
            self._aside.raw(f"  {paint(link, 'cyan', self._aside.file)}")

    def talk_on(self) -> None:
        """More questions, for as long as there are any."""
        self._aside.line()
        self._aside.line("Or go on here; an empty line ends it.", "dim")
        converse(self._link, self._conversation, self._aside, leave_on_empty=True)

    def print_json(self, outcome: Outcome) -> None:
        """The whole result as JSON, on stdout."""
        address = f"@{self._link.server.workspace}/{AGENT}"
        found = {"agent": address, "conversation": self._conversation, **result_of(outcome)}
        print(json.dumps(found, ensure_ascii=False))

    async def _sign_in_link(self) -> str | None:
        try:
            return (await self._link.client.sign_in_links.create())["url"]
        except ApiError:
            return None  # a server from before there were pages

    async def _prepare(self, model: Chain | None, default: str | None) -> None:
        client, workspace = self._link.client, self._link.server.workspace
        agent = await self._agent(model, default)
        wanted: str | list[str] = agent["definition"]["model"]
        self._model = wanted if isinstance(wanted, str) else wanted[0]
        if self._model == BUNDLED:
            async with self._start:
                await self._wait_for_model()
        conversation = await client.conversations.create(workspace, AGENT)
        self._conversation = conversation["id"]

    async def _agent(self, model: Chain | None, default: str | None) -> dict[str, Any]:
        agents, workspace = self._link.client.agents, self._link.server.workspace
        try:
            agent = await agents.get(workspace, AGENT)
        except ApiError as error:
            if error.status != 404:
                raise
            definition = find_template("hello").named(AGENT, model, default)
            return await agents.create(workspace, msgspec.to_builtins(definition))
        if model and agent["definition"]["model"] != model:
            return await agents.change(workspace, AGENT, {"model": model})
        return agent

    async def _wait_for_model(self) -> None:
        """So that the figures are the answer's and not the loading's. The agent's run would wait as well."""
        self._start.doing("Loading the demo model")
        while (state := (await self._link.client.readiness())["local_model"]) == "starting":  # noqa: ASYNC110  # over HTTP
            await asyncio.sleep(POLL_SECONDS)
        if state == "absent":
            self._start.warn("Demo model", f"not installed; {program()} model install brings it")
        elif state == "ready":
            began = self._start.model_began
            seconds = time.monotonic() - began if began and self._link.server.started else None
            self._start.done("Demo model", seconds, "SmolLM2 135M, bundled")


async def better_models(data_dir: Path) -> list[tuple[str, str]]:
    """Models that stand ready beside the bundled one, each with why it is offered."""
    from porch.cli.models import look_around
    from porch.models.places import try_first

    offers: list[tuple[str, str]] = []
    for found in await look_around(data_dir=data_dir):
        if found.provider == "openai" and found.ready:
            name = found.models[0] if found.models and found.elsewhere else "openai:gpt-5-mini"
            offers.append(
                (name, "with OpenAI: a key is set" if found.key else "with your OpenAI-compatible server")
            )
        elif found.provider == "ollama" and found.ready:
            offers.append((found.models[0], "with Ollama, which runs here"))
        elif found.key and found.ready and found.usual and not found.elsewhere:
            offers.append((try_first(found.provider), f"with {found.label}: a key is set"))
    return offers
