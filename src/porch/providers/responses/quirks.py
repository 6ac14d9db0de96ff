"""How the servers of one dialect differ, as data."""

from dataclasses import dataclass

from porch.providers.history import PLAIN_MODELS
from porch.providers.traits import FindTraits, find_openai

FORMAT = "openai-responses"


@dataclass(frozen=True, slots=True)
class Quirks:
    """What a server wants said differently. The defaults are OpenAI's.

    `seal` names who can read the sealed reasoning: only blocks of that format go back; `seal_plain` says that
    reasoning in plain words is wanted back too. `encrypted` asks for encrypted blocks, except from models whose
    names begin like one of `plain_models`: those refuse to be asked. `summary` is the kind of reasoning summary
    to ask for, `cache_key` whether a key for the prompt's cache may be sent, `traits` what single models take
    otherwise.
    """

    path: str = "/responses"
    seal: str = FORMAT
    seal_plain: bool = False
    tools: bool = True
    encrypted: bool = True
    summary: str | None = "auto"
    cache_key: bool = True
    plain_models: tuple[str, ...] = PLAIN_MODELS
    traits: FindTraits = find_openai

    def reasons(self, model: str) -> bool:
        """Whether a model may be asked about its reasoning."""
        return not model.startswith(self.plain_models)


PROFILES: dict[str, Quirks] = {
    "azure": Quirks(seal="azure-responses"),
    "deepseek": Quirks(
        seal="deepseek-responses",
        seal_plain=True,
        encrypted=False,
        summary=None,
        cache_key=False,
        plain_models=(),
    ),
    "lmstudio": Quirks(
        seal="lmstudio-responses",
        seal_plain=True,
        encrypted=False,
        summary=None,
        cache_key=False,
        plain_models=(),
    ),
    "openai": Quirks(),
    "openrouter": Quirks(seal="openrouter-responses", seal_plain=True, cache_key=False, plain_models=()),
    "xai": Quirks(seal="xai-responses", summary=None, cache_key=False, plain_models=("grok-2",)),
}


def profile(name: str) -> Quirks:
    """The quirks of a server by its usual name; OpenAI's for one that is not known, but with a seal of its own."""
    return PROFILES.get(name) or Quirks(seal=f"{name}-responses")
