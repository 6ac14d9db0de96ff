"""Where a model is asked, and by what names a person knows that place."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from porch.egress import Reach


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An API's address and credential. `key` never shows in a repr.

    `label` is what people call the provider; `key_name` and `url_name` are the settings a person would
    change, `hint` is what to do when nothing answers there. `reach` says whose word the address is.
    """

    label: str
    base_url: str
    key: str | None = field(default=None, repr=False)
    key_name: str | None = None
    url_name: str | None = None
    hint: str | None = None
    reach: Reach = Reach.PUBLIC


Locate = Callable[[], Awaitable[Endpoint]]


def fixed(endpoint: Endpoint) -> Locate:
    """An endpoint that needs no finding."""

    async def locate() -> Endpoint:
        return endpoint

    return locate
