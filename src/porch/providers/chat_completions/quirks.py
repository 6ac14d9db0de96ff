"""How the servers of one dialect differ, as data."""

from dataclasses import dataclass
from typing import Literal

from porch.providers.traits import FindTraits, find_none


@dataclass(frozen=True, slots=True)
class Quirks:
    """What a server wants said differently. The defaults suit most of the family.

    `seed` is "" where none is taken. `seal` names who can read what a server gives to be sent back, "" where
    nothing is; `signed` says that this is the extra content of calls, not reasoning details, and what stands for it
    beside calls that another model made; `reasoning` is how the effort is asked for, `plain_models` how the names
    of models begin (an added hyphen their end) that refuse to be asked; `thoughts` the field in which a call's
    reasoning goes back as plain text; `call_ids` whether the ids of calls must be nine letters and digits; `schema`
    how an answer's schema is asked for: as such, as JSON with the schema in the instructions, or in the instructions
    alone; `think_tags` whether thoughts come between tags in the text; `routes` whether the server hands the request
    on, and must be told to hand it to nobody who would overlook the schema; `traits` what its single models take
    otherwise, and `tools_at` the provider that takes tools for those that do not take them here.
    """

    max_tokens: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    stream_usage: bool = True
    tools: bool = True
    path: str = "/chat/completions"
    seed: Literal["seed", "random_seed", ""] = "seed"
    images: bool = True
    files: bool = False
    parallel: bool = True
    required: Literal["required", "any"] = "required"
    call_ids: Literal["any", "nine"] = "any"
    schema: Literal["json_schema", "json_object", "words"] = "json_schema"
    reasoning: Literal["reasoning_effort", "reasoning", "none"] = "reasoning_effort"
    efforts: tuple[str, ...] = ("none", "minimal", "low", "medium", "high")
    plain_models: tuple[str, ...] = ()
    seal: str = ""
    signed: str = ""
    thoughts: str = ""
    think_tags: bool = False
    routes: bool = False
    cache: Literal["none", "prompt_cache_key", "cache_control"] = "none"
    traits: FindTraits = find_none
    tools_at: str = ""
