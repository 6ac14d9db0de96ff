"""What went wrong at a provider, as a sentence that says what to change."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from porch.contract.errors import Category, ModelError
from porch.egress import EgressError, Reach, Redirected
from porch.providers.complaints import (
    Complaint,
    blames_key,
    categorise,
    quote,
    read_complaint,
    understand,
)
from porch.providers.endpoint import Endpoint
from porch.providers.hints import limit_resets, retry_after

RETRYABLE: frozenset[Category] = frozenset({"rate_limit", "overloaded", "network", "cut", "timeout"})


@dataclass(frozen=True, slots=True)
class Asked:
    """Who was asked for what, and in which dialect: the names a sentence needs."""

    endpoint: Endpoint
    model: str
    api: str = "an OpenAI-compatible API"

    @property
    def who(self) -> str:
        """The provider as a person knows it."""
        return self.endpoint.label

    @property
    def opening(self) -> str:
        """The provider where a sentence begins with it."""
        return _upper(self.who)

    @property
    def where(self) -> str:
        """The provider with its address."""
        return f"{self.who} at {show_url(self.endpoint.base_url)}"

    @property
    def check(self) -> str:
        """What to look at when the address may be wrong."""
        return f"check {self.endpoint.url_name or 'the base URL'}"

    def error(
        self, sentences: str, code: str, category: Category, *, retry_after: float | None = None
    ) -> ModelError:
        """A ModelError whose message begins with a capital letter, whatever the label."""
        return ModelError(
            _upper(sentences),
            code=code,
            category=category,
            retryable=category in RETRYABLE,
            retry_after=retry_after,
        )


def http_failure(asked: Asked, status: int, headers: Mapping[str, str], body: bytes) -> ModelError:
    """The error for an HTTP answer that is not 2xx. `body` may be JSON of any shape, HTML, or empty."""
    if 300 <= status < 400:
        return _redirected(asked, status, None)
    complaint = read_complaint(body)
    wait = retry_after(headers)
    if wait is None and status == 429 and complaint.wait is None:
        wait = limit_resets(headers)
    return _refused(asked, categorise(status, complaint), complaint, status, wait)


def stream_failure(asked: Asked, error: object) -> ModelError:
    """The error for what stands in an `error` member inside a stream or a 200 body."""
    complaint = error if isinstance(error, Complaint) else understand(error)
    return _refused(asked, categorise(complaint.status, complaint), complaint, complaint.status, None)


def category_failure(asked: Asked, category: Category, wait: float | None = None) -> ModelError:
    """The error of a category, where the provider said nothing more."""
    return _refused(asked, category, Complaint(), None, wait)


def egress_failure(asked: Asked, error: EgressError) -> ModelError:
    """The error for a request that got no answer, or whose answer broke off."""
    check = asked.check
    said = error.message
    if isinstance(error, Redirected):
        return _redirected(asked, error.status_code, error.host)
    match error.cause:
        case "timeout":
            said = f"{asked.who} took too long over {asked.model!r}. {said} Try again, or another model."
            return asked.error(said, "model_timeout", "timeout")
        case "cut":
            return cut_failure(asked)
        case "too_large":
            said = f"The answer of {asked.model!r} from {asked.who} is too large: {said} Ask for less."
            return asked.error(said, "answer_too_large", "protocol")
        case "tls":
            said = f"{asked.where} could not be trusted: {said} {_upper(check)} and the certificates here."
            return asked.error(said, "tls", "protocol")
        case "protocol" | "redirect" | "status":
            said = f"{asked.where} did not answer as an HTTP API should: {said} {_upper(check)}."
            return asked.error(said, "not_http", "protocol")
        case "address":
            said = f"{asked.where} cannot be asked: {said} {_upper(check)}."
            return asked.error(said, "bad_address", "bad_request")
        case "forbidden":
            return asked.error(
                f"{asked.where} may not be asked. {said}", "address_not_allowed", "bad_request"
            )
        case "dns" | "refused" | "reset":
            mend = asked.endpoint.hint or f"Check the network, and {check}."
            return asked.error(f"{asked.where} could not be reached. {said} {mend}", "unreachable", "network")


def endless_wait(asked: Asked, seconds: float) -> ModelError:
    """The error for a stream that was kept alive, and nothing more, for so long."""
    said = (
        f"{asked.who} took too long over {asked.model!r}: it kept the connection alive and sent nothing of an answer "
        f"for {seconds:g} seconds. Try again, or another model; provider_event_timeout says how long is waited."
    )
    return asked.error(said, "model_timeout", "timeout")


def cut_failure(asked: Asked) -> ModelError:
    """The error for a stream that ended without its end."""
    whose = f"{asked.model!r} from {asked.who}"
    return asked.error(f"The answer of {whose} broke off before its end. Try again.", "cut", "cut")


def protocol_failure(asked: Asked, what: str, shown: bytes = b"") -> ModelError:
    """The error for an answer that the dialect does not allow; `what` completes "X answered …"."""
    words = quote(shown.decode("utf-8", "replace"), asked.endpoint.key)
    said = (
        f"{asked.who} answered {what} when {asked.model!r} was asked{f' ({words})' if words else ''}. "
        f"{_upper(asked.check)}: it must be that of {asked.api}."
    )
    return asked.error(said, "bad_answer", "protocol")


def show_url(url: str) -> str:
    """A URL without user, password, query and fragment, for people."""
    return re.sub(r"//[^/]*@", "//", re.split(r"[?#]", url, maxsplit=1)[0])[:200]


def _refused(
    asked: Asked, category: Category, complaint: Complaint, status: int | None, wait: float | None
) -> ModelError:
    wait = complaint.wait if wait is None and category in RETRYABLE else wait
    number, code = f" ({status})" if status else "", f"model_{category}"
    said = _sentences(asked, category, number, wait)
    if category == "auth" and not blames_key(status, complaint):
        said, code = _no_access(asked, number), "model_access"
    words = quote(complaint.text, asked.endpoint.key)
    if words:
        said += f" It said: {words}"
    return asked.error(said, code, category, retry_after=wait)


def _sentences(asked: Asked, category: Category, number: str, wait: float | None) -> str:
    who, model = asked.who, f"{asked.model!r}{number}"
    match category:
        case "auth":
            return _key_refused(asked.endpoint, asked.model, number)
        case "quota":
            return (
                f"The account at {who} has no quota left{number}. Add credit there, or choose another model."
            )
        case "rate_limit":
            return f"{who} limits how often {asked.model!r} may be asked{number}. Try again {_when(wait)}."
        case "overloaded":
            return f"{who} could not answer for {model}. Try again {_when(wait)}, or choose another model."
        case "context_too_long":
            return f"The conversation is too long for {model}. Start a new one, or choose a larger model."
        case "content_filtered":
            return f"{who} refused this content for {model}. Rephrase the message."
        case "not_found":
            also = "that the account may use it" if asked.endpoint.reach is Reach.PUBLIC else _address(asked)
            return f"{who} does not know {model}. Check the model's name, and {also}."
        case "timeout":
            return f"{who} took too long over {model}. Try again."
        case _:
            return f"{who} refused the request for {model}. Check the agent's settings and tools."


def _key_refused(endpoint: Endpoint, model: str, number: str) -> str:
    if endpoint.key and endpoint.key_name:
        check = f"Check that it is whole and valid, and may use {model!r}"
        return f"{endpoint.label} refused the key in {endpoint.key_name}{number}. {check}."
    if endpoint.key_name:
        return f"{endpoint.label} asks for a key{number}. Set {endpoint.key_name}, and start Porch again."
    return f"{endpoint.label} refused access{number}. {endpoint.hint or 'Check what protects it.'}"


def _no_access(asked: Asked, number: str) -> str:
    endpoint = asked.endpoint
    if not endpoint.key or not endpoint.key_name:
        return _key_refused(endpoint, asked.model, number)
    return (
        f"{endpoint.label} does not let the key in {endpoint.key_name} ask {asked.model!r}{number}. Check that its "
        f"account may use this model, and that {endpoint.label} serves the place you ask from; or choose another model."
    )


def _address(asked: Asked) -> str:
    return asked.endpoint.url_name or "the base URL"


def _when(wait: float | None) -> str:
    if wait is None or wait < 1:
        return "in a moment"
    for unit, length in (("days", 86400), ("hours", 3600), ("minutes", 60)):
        if wait >= 2 * length:
            return f"in {wait / length:.0f} {unit}"
    return f"in {wait:.0f} seconds"


def _redirected(asked: Asked, status: int, host: str | None) -> ModelError:
    name = asked.endpoint.url_name or "the base URL"
    said = (
        f"{asked.where} redirects{f' to {host!r}' if host else ''} ({status}), which is not followed, since the key "
        f"would go there too. If that is the right place, set {name} to it."
    )
    return asked.error(said, "redirected", "protocol")


def _upper(text: str) -> str:
    return text[:1].upper() + text[1:]
