"""What is told of failures: as a run's end, and when every model of a chain failed."""

from collections.abc import Sequence
from dataclasses import dataclass

from porch.contract.errors import Category, ModelError, PorchError
from porch.contract.events import ErrorInfo


@dataclass(frozen=True, slots=True)
class Failure:
    """A model of a chain, and why it did not answer."""

    model: str
    error: PorchError

    @property
    def category(self) -> Category:
        """What kind of failure it was."""
        return self.error.kind if isinstance(self.error, ModelError) else self.error.category

    @property
    def retryable(self) -> bool:
        """Whether the same question may be answered later."""
        error = self.error
        return error.retryable if isinstance(error, ModelError) else error.status >= 500


def sum_up(failures: Sequence[Failure]) -> PorchError:
    """One error of a chain's failures: the first that may pass by itself, else the first; the others are named.

    A visitor can wait, while a key that is missing behind it is for the agent's owner.
    """
    told = next((failure for failure in failures if failure.retryable), failures[0])
    others = [failure for failure in failures if failure is not told]
    if not others:
        return told.error
    named = ", ".join(f"{other.model!r} ({other.category.replace('_', ' ')})" for other in others)
    error = told.error
    return ModelError(
        f"{_ended(error.message)} The agent's other models failed too: {named}.",
        code=error.reason if isinstance(error, ModelError) else error.code,
        category=told.category,
        retryable=told.retryable,
        retry_after=error.retry_after if isinstance(error, ModelError) else None,
    )


def _ended(message: str) -> str:
    """With a stop: an error may end with a model's own words, which have none."""
    bare = message.rstrip().rstrip("\"'”’)»")
    return message if bare.endswith((".", "!", "?", "…", "。", "！", "？")) else f"{message.rstrip()}."


def code_of(error: PorchError) -> str:
    """The code by which readers know it: a model's failure has one of its own."""
    return error.reason if isinstance(error, ModelError) else error.code


def describe(error: PorchError, *, emitted_any: bool) -> ErrorInfo:
    """An error as the run's end tells it."""
    if isinstance(error, ModelError):
        return ErrorInfo(
            code=error.reason,
            category=error.kind,
            message=error.message,
            retryable=error.retryable,
            emitted_any=emitted_any,
        )
    return ErrorInfo(
        code=error.code,
        category=error.category,
        message=error.message,
        retryable=error.status >= 500,
        emitted_any=emitted_any,
    )


def own_fault(*, emitted_any: bool) -> ErrorInfo:
    """What is told where we are to blame, and the log alone knows more."""
    message = "Porch failed within this run by a fault of its own; the server's log says more. Try again."
    return ErrorInfo(
        code="internal", category="internal", message=message, retryable=True, emitted_any=emitted_any
    )
