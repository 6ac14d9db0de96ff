"""Pages of people: signing in by password, signing up, and one's own account."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Annotated, Any

from fastapi import Request
from starlette.responses import Response

from porch.contract.errors import (
    Conflict,
    Forbidden,
    InvalidInput,
    PorchError,
    RateLimited,
    Unauthenticated,
)
from porch.contract.principal import Principal
from porch.http.auth import public, requires
from porch.http.forgery import check_origin
from porch.http.pages import form, page_router, redirect, render, visitor
from porch.http.problem import problem_of
from porch.http.state import authenticate, database, doors
from porch.identity import oidc, people
from porch.identity.passwords import check_password
from porch.identity.service import check_name
from porch.identity.signing_in import (
    caller_of,
    next_page,
    provider_name,
    sign_in_browser,
    sign_in_page,
    signed_in,
    then_of,
)

router = page_router("people")
# What concerns the person, in whichever of their workspaces.
Anybody = Annotated[Principal, requires(anywhere=True)]


@dataclass(slots=True)
class Faults:
    """What is wrong with a form: sentences by the field that they belong to, and one about all of it."""

    fields: dict[str, str] = field(default_factory=dict[str, str])
    problem: str = ""
    status: int = InvalidInput.status
    headers: dict[str, str] = field(default_factory=dict[str, str])

    def __bool__(self) -> bool:
        return bool(self.fields or self.problem)

    @property
    def first(self) -> str:
        """The field that is wrong first, "" for none."""
        return next(iter(self.fields), "")

    def check(self, name: str, check: Callable[[], Any]) -> None:
        """Note what a check of one field says."""
        try:
            check()
        except InvalidInput as error:
            self.fields[name] = error.message

    def add(self, error: PorchError, names: tuple[str, ...], taken: str = "") -> None:
        """Note what a service says, beside the field that it names; of a conflict it is `taken`."""
        self.status = error.status
        pointers = [each.get("pointer", "")[1:] for each in getattr(error, "errors", ())]
        found = next((pointer for pointer in pointers if pointer in names), "")
        if isinstance(error, Conflict):
            found = taken
        if found:
            self.fields[found] = error.message
        else:
            self.problem = error.message
        if retry := problem_of(error).headers.get("Retry-After"):
            self.headers["Retry-After"] = retry


@router.post("/sign-in", dependencies=[public()])
async def sign_in(request: Request) -> Response:
    """Signs this browser in by a password. A session that it had before ends."""
    check_origin(request)
    sent = await form(request)
    then = await then_of(request, sent.get("next"))
    login = sent.get("login", "").strip()
    try:
        secret = await people.sign_in(
            database(request), doors(request), login, sent.get("password", ""), caller_of(request)
        )
    except (Unauthenticated, RateLimited) as error:
        if isinstance(error, Unauthenticated) and (refusals := getattr(request.app.state, "refusals", None)):
            refusals.refused_sign_in(login.lower(), caller_of(request).address)
        response = sign_in_page(request, error.status, then=then, login=login[:100], problem=error.message)
        if isinstance(error, RateLimited):
            response.headers["Retry-After"] = problem_of(error).headers["Retry-After"]
        return response
    return await sign_in_browser(request, secret, then, await signed_in(request))


@router.get("/sign-up", dependencies=[public()])
async def show_sign_up(request: Request) -> Response:
    """The form by which anybody becomes one of the people here, where that is open."""
    doors(request).require()
    then = next_page(request.query_params.get("next"))
    if await visitor(request) is not None:
        return redirect(request, then)
    return _sign_up_page(request, {}, Faults(), then)


@router.post("/sign-up", dependencies=[public()])
async def sign_up(request: Request) -> Response:
    """Makes an account with a workspace of its own, and signs this browser in."""
    check_origin(request)
    sent = await form(request)
    then = next_page(sent.get("next"))
    secret, faults = await make_account(request, sent)
    if secret is None:
        return _sign_up_page(request, sent, faults, then)
    return await sign_in_browser(request, secret, then, await signed_in(request), flash="Welcome.")


async def make_account(
    request: Request, sent: dict[str, str], invitation: str | None = None
) -> tuple[str | None, Faults]:
    """The secret of a new person's session, or what is wrong with what they sent.

    Raises MultiUserOff, Forbidden where nobody may sign up so, NotFound for an invitation that does not work.
    """
    doors(request).require_sign_up(invited=invitation is not None)
    login, name, password = (sent.get(each, "") for each in ("login", "name", "password"))
    faults = Faults()
    faults.check("login", lambda: people.check_login(login))
    if name.strip():
        faults.check("name", lambda: check_name(name, "Your name"))
    faults.check("password", lambda: check_password(password, (login.strip(), name.strip())))
    if faults:
        return None, faults
    wanted = people.SignUp(login, name.strip(), password, invitation)
    try:
        return await people.sign_up(database(request), doors(request), wanted, caller_of(request)), faults
    except (InvalidInput, Conflict, RateLimited) as error:
        faults.add(error, ("login", "password"), taken="login")
        return None, faults


@router.get("/account")
async def show_account(request: Request, principal: Anybody) -> Response:
    """What one signs in with."""
    return await _account_page(request, principal, {}, Faults(status=200))


@router.post("/account")
async def set_password(request: Request, principal: Anybody) -> Response:
    """Sets the password, and the name to sign in with where there is none. Other sessions end."""
    sent = await form(request)
    faults = Faults()
    try:
        await people.set_password(
            principal,
            database(request),
            doors(request),
            login=sent.get("login"),
            before=sent.get("before", ""),
            password=sent.get("password", ""),
        )
    except (InvalidInput, Conflict, RateLimited) as error:
        faults.add(error, ("login", "before", "password"), taken="login")
        return await _account_page(request, principal, sent, faults)
    authenticate(request).forget()
    return redirect(request, "/account", flash="The password is set. Your other sessions have ended.")


def _sign_up_page(request: Request, sent: dict[str, str], faults: Faults, then: str) -> Response:
    closed = ""
    try:
        doors(request).require_sign_up(invited=False)
    except Forbidden as error:
        closed = error.message
    response = render(
        request,
        "identity/sign_up.html",
        Forbidden.status if closed else faults.status if faults else 200,
        closed=closed,
        provider=provider_name(request),
        sent=sent,
        faults=faults,
        then=then,
    )
    response.headers.update(faults.headers)
    return response


async def _account_page(
    request: Request, principal: Principal, sent: dict[str, str], faults: Faults
) -> Response:
    doors(request).require()
    login, has_password = await people.read_login(principal, database(request))
    response = render(
        request,
        "identity/account.html",
        faults.status,
        login=login,
        has_password=has_password,
        provider=provider_name(request),
        linked=await oidc.list_linked(principal, database(request)),
        sent=sent,
        faults=faults,
    )
    response.headers.update(faults.headers)
    return response
