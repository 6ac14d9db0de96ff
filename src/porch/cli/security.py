"""`porch security isolation`: whether tenants are kept apart, tried from outside at every door."""

import asyncio
import json
import os
import sys
import time
from collections import Counter

import click

from porch.cli.invocation import common, current
from porch.cli.prose import Prose
from porch.cli.tables import print_table
from porch.cli.terminal import neutral, paint
from porch.client.credentials import find_access
from porch.conformance.isolation.kit import Case, check
from porch.conformance.isolation.live import Live
from porch.conformance.isolation.people import find_people
from porch.conformance.isolation.report import Report
from porch.conformance.isolation.web import Refused
from porch.contract.errors import PorchError, SetupError

AT_ONCE, MOST_BREACHES = 8, 20
EPILOG = "Example: porch security isolation http://localhost:8642"


@click.group(epilog=EPILOG)
@common(json=True)
def security() -> None:
    """Prove that tenants are kept apart."""


@security.command(epilog=EPILOG)
@click.argument("url")
@click.option(
    "--token", metavar="TOKEN", help="A token of the operator (PORCH_TOKEN), to invite people with."
)
@common(json=True)
def isolation(url: str, token: str | None) -> None:
    """Try every door of a server as everybody who must not get through it, and exit with 1 where one does.

    Throw-away people with workspaces of their own are made for it: openly where anybody can sign up, else by
    invitation with the operator's token. They stay behind, and are named isolation-…; their agents go.
    """
    address, known = _access(url, token)
    aside, began = Prose(sys.stderr), time.monotonic()
    report, alone = asyncio.run(_check(address, known, aside))
    aside.rest()
    if current().json:
        _print_json(address, report, alone=alone)
    else:
        _print(address, report, time.monotonic() - began, alone=alone)
    if report.breaches:
        click.get_current_context().exit(1)


def _access(url: str, token: str | None) -> tuple[str, str | None]:
    folder = current().data_dir
    environ = {**os.environ, "PORCH_DATA_DIR": folder} if folder else os.environ
    try:
        access = find_access(url, token, environ=environ)
        return access.url, access.token
    except SetupError:
        try:
            return find_access(url, token or "none", environ=environ).url, token
        except SetupError as error:
            raise click.UsageError(error.message) from error


async def _check(url: str, token: str | None, aside: Prose) -> tuple[Report, bool]:
    web = Live(url)
    try:
        people = await find_people(web, token)
        report = await check(Case(web, people, at_once=AT_ONCE, tell=aside.wait))
    except Refused as error:
        aside.rest()
        raise click.UsageError(error.message) from error
    except PorchError:
        aside.rest()
        raise
    finally:
        await web.close()
    return report, people.alone


def _print_json(url: str, report: Report, *, alone: bool) -> None:
    told = {
        "url": url,
        "alone": alone,
        "cells": len(report.cells),
        "doors": {kind: dict(found) for kind, found in report.by_kind()},
        "callers": dict(Counter(cell.caller for cell in report.cells)),
        "breaches": [
            {"caller": cell.caller, "method": cell.method, "path": cell.path, "why": cell.why}
            for cell in report.breaches
        ],
        "unchecked": report.unchecked,
        "left": report.left,
    }
    print(json.dumps(told))


def _print(url: str, report: Report, seconds: float, *, alone: bool) -> None:
    rows = [
        (
            kind,
            f"{sum(found.values()):,}",
            f"{found['ok']:,}",
            f"{found['breach']:,}" if found["breach"] else "-",
        )
        for kind, found in report.by_kind()
    ]
    print_table(("doors", "tried", "ok", "BREACH"), rows, empty="Nothing was tried.", headed=True)
    prose = Prose(sys.stdout)
    breaches = report.breaches
    for cell in breaches[:MOST_BREACHES]:
        prose.line()
        prose.hanging(paint("BREACH ", "red", sys.stdout), 7, neutral(cell.why))
    if len(breaches) > MOST_BREACHES:
        prose.line()
        prose.line(f"And {len(breaches) - MOST_BREACHES:,} more; --json has them all.")
    for name in report.unchecked:
        prose.line(f"Not tried, since this version knows no object for it: {neutral(name)}", "yellow")
    prose.line()
    if alone:
        prose.line(
            "This server is one person's, so there were no other tenants to try it with: unknown, dead, narrowed and "
            "reading tokens and guests were. With several people (PORCH_MULTI_USER) strangers and members are too."
        )
    if report.left:
        prose.line(f"Left behind: {neutral('; '.join(report.left))}.", "dim")
    callers = len({cell.caller for cell in report.cells})
    verdict = paint(f"{len(breaches):,} BREACH", "red", sys.stdout) if breaches else "0 BREACH"
    prose.raw(f"{len(report.cells):,} tries as {callers} callers, {verdict} · {url} in {seconds:.0f} s")
