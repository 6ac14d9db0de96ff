"""How a model is asked to think, which tools and temperature it takes beside that, and what it cannot be asked."""

from porch.providers.chat_completions.quirks import Quirks
from porch.providers.request import ModelRequest
from porch.providers.traits import nearest_effort


def sent_effort(request: ModelRequest, quirks: Quirks) -> str | None:
    """The effort to ask for, None where the model is to do as it does unasked."""
    traits, asked = quirks.traits(request.model), request.settings.reasoning_effort
    effort = None if asked is None else nearest_effort(asked, traits.efforts or quirks.efforts)
    if _has_tools(request, quirks) and traits.tools == "unthinking" and effort in (None, "none"):
        # Unsaid, the model's own effort counts, and is refused beside tools.
        return None if traits.at_rest == "none" else "none"
    return effort


def takes_sampling(request: ModelRequest, quirks: Quirks) -> bool:
    """Whether the model takes temperature and top_p with this request."""
    return quirks.traits(request.model).samples(sent_effort(request, quirks))


def refused_tools(request: ModelRequest, quirks: Quirks, who: str) -> str:
    """Why the model would not take this request's tools, and what to do; "" where it does. `who` provides it."""
    traits, model = quirks.traits(request.model), request.model
    unthinking = traits.tools == "unthinking" and sent_effort(request, quirks) not in (None, "none")
    if not _has_tools(request, quirks) or not (unthinking or traits.tools == "elsewhere"):
        return ""
    instead = f"Ask for {f'{quirks.tools_at}:{model}'!r} instead" if quirks.tools_at else ""
    if not unthinking:
        instead = instead or "Choose another model, or an agent without tools"
        return f"{who} takes no tools for {model!r} over Chat Completions. {instead}."
    rest = "set the reasoning effort to 'none'"
    return (
        f"{who} takes tools for {model!r} over Chat Completions only without reasoning. "
        f"{f'{instead}, or {rest}' if instead else rest.capitalize()}."
    )


def _has_tools(request: ModelRequest, quirks: Quirks) -> bool:
    return bool(request.tools) and quirks.tools
