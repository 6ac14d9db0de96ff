"""The design system's own laws: contrast, direction, motion, and that /design shows every piece."""

import re
from collections.abc import Iterator
from itertools import product
from pathlib import Path

import pytest

import porch
from porch.http.application import create_app
from porch.web.design import router
from porch.web.static import FOLDER
from tests.http.client import Client

CSS = FOLDER / "css"
SHEETS = sorted(CSS.glob("*.css"))
TEMPLATES = sorted(Path(porch.__file__).parent.glob("*/templates/**/*.html"))

PAPERS = ("paper", "paper-raised", "paper-sunken")
GROUNDS = (*PAPERS, "accent-soft", "danger-soft", "good-soft", "warn-soft")
TEXT_ON: dict[str, tuple[str, ...]] = {
    "ink": GROUNDS,
    "ink-soft": GROUNDS,
    "ink-faint": PAPERS,
    "accent": GROUNDS,
    "accent-ink": ("accent",),
    "lantern": PAPERS,
    "danger": (*PAPERS, "danger-soft"),
    "good": ("paper", "paper-raised", "good-soft"),
    "warn": ("paper", "paper-raised", "warn-soft"),
}
MARK_ON: dict[str, tuple[str, ...]] = {
    "line-strong": PAPERS,
    "focus": GROUNDS,
}
PAIRS = [
    (mark, ground, least)
    for marks, least in ((TEXT_ON, 4.5), (MARK_ON, 3.0))
    for mark, grounds in marks.items()
    for ground in grounds
]


def colours() -> dict[str, tuple[str, str]]:
    """Every colour token as (by day, by night)."""
    found = re.findall(
        r"--([a-z-]+): light-dark\((#[0-9a-f]{6}), (#[0-9a-f]{6})\);", (CSS / "tokens.css").read_text()
    )
    return {name: (day, night) for name, day, night in found}


def luminance(colour: str) -> float:
    """WCAG 2.2's relative luminance of #rrggbb."""
    channels = (int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5))
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    """WCAG 2.2's contrast ratio."""
    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def test_the_measure_of_contrast_is_wcags() -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21)  # pyright: ignore[reportUnknownMemberType]  # pytest's own
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)  # pyright: ignore[reportUnknownMemberType]  # pytest's own


@pytest.mark.parametrize(("mark", "ground", "least"), PAIRS)
@pytest.mark.parametrize("night", [False, True], ids=["day", "night"])
def test_every_pair_can_be_read(mark: str, ground: str, least: float, night: bool) -> None:
    held = colours()
    assert contrast(held[mark][night], held[ground][night]) >= least


def test_no_colour_is_left_out_of_the_pairs() -> None:
    decoration = {"line", "lantern-glow"}
    assert set(colours()) == {name for pair in PAIRS for name in pair[:2]} | decoration


def test_colours_are_named_in_the_tokens_alone() -> None:
    for sheet in SHEETS:
        if sheet.name != "tokens.css":
            assert re.findall(r"#[0-9a-fA-F]{3,8}\b(?![^{]*\{)", sheet.read_text()) == [], sheet.name


def test_every_token_that_is_used_is_there() -> None:
    known = set(re.findall(r"(--[a-z0-9-]+):", "".join(sheet.read_text() for sheet in SHEETS)))
    for sheet in SHEETS:
        used = set(re.findall(r"var\((--[a-z0-9-]+)\)", sheet.read_text()))
        assert used <= known, sheet.name


@pytest.mark.parametrize("sheet", SHEETS, ids=lambda sheet: sheet.name)
def test_sheets_know_no_left_and_right(sheet: Path) -> None:
    physical = re.compile(
        r"(?:^|[;{\s])((?:(?:margin|padding|border)-(?:left|right)|left|right|float)\s*:"
        r"|text-align\s*:\s*(?:left|right))"
    )
    assert physical.findall(sheet.read_text()) == []


@pytest.mark.parametrize("sheet", SHEETS, ids=lambda sheet: sheet.name)
def test_what_moves_asks_first(sheet: Path) -> None:
    text = re.sub(r"/\*.*?\*/", "", sheet.read_text(), flags=re.DOTALL)
    if "animation: none !important" in "".join(_blocks(text, "@media (prefers-reduced-motion: reduce)")):
        return  # the sheet stills everything at once
    allowed = "".join(_blocks(text, "@media (prefers-reduced-motion: no-preference)"))
    for declared in re.findall(r"(?:transition|animation)\s*:[^;]+;", text):
        assert declared in allowed or "none" in declared or "var(--motion)" in declared, declared


def _blocks(text: str, opening: str) -> Iterator[str]:
    for start in (found.end() for found in re.finditer(re.escape(opening), text)):
        depth, at = 0, start
        while at < len(text):
            depth += {"{": 1, "}": -1}.get(text[at], 0)
            at += 1
            if depth == 0 and text[at - 1] == "}":
                break
        yield text[start:at]


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda path: path.name)
def test_templates_hold_nothing_that_the_policy_forbids(template: Path) -> None:
    text = template.read_text()
    assert not re.search(r"\sstyle\s*=|<style|\son[a-z]+\s*=|javascript:", text)
    scripts = re.findall(r"<script\b([^>]*)>", text)
    assert all("src=" in attributes or "application/json" in attributes for attributes in scripts), scripts
    assert not re.search(r"""(?:src|href|action)=["'](?:https?:)?//""", text)
    assert "| safe" not in text
    assert "|safe" not in text


# Who signs in or up has no session yet: these forms are guarded by where they come from.
DOORS = {f"/{way}" for way in ("sign-in", "sign-up", "sign-in/{{ link }}", "recover")} | {
    "/join/{{ secret }}"
}


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda path: path.name)
def test_every_form_that_changes_something_carries_its_token(template: Path) -> None:
    for attributes, body in re.findall(r"<form\b([^>]*)>(.*?)</form>", template.read_text(), re.DOTALL):
        if not any(f'action="{door}"' in attributes for door in DOORS):
            assert ("post" in attributes) == ("csrf" in body), attributes


async def test_the_page_shows_every_piece() -> None:
    app = create_app([router])
    page = (await Client(app).get("/design")).body.decode()
    shown = {name for names in re.findall(r'class="([^"]*)"', page) for name in names.split()}
    text = re.sub(r"/\*.*?\*/", "", (CSS / "components.css").read_text(), flags=re.DOTALL)
    pieces = set(re.findall(r"\.([a-z][a-z-]+)", re.sub(r"\{[^{}]*\}", "", text)))
    made_by_script, elsewhere = {"toast"}, {"error-status"}
    assert pieces - made_by_script - elsewhere <= shown


async def test_no_id_is_there_twice_and_every_reference_has_its_end() -> None:
    page = (await Client(create_app([router])).get("/design")).body.decode()
    ids = re.findall(r'\sid="([^"]+)"', page)
    assert len(ids) == len(set(ids))
    references = re.findall(
        r'(?:aria-labelledby|aria-describedby|data-dialog|popovertarget|for)="([^"]+)"', page
    )
    assert {name for reference in references for name in reference.split()} <= set(ids)
    assert set(re.findall(r'href="#([^"]+)"', page)) <= set(ids)


def test_the_contract_of_classes_is_kept() -> None:
    text = (CSS / "components.css").read_text() + (CSS / "base.css").read_text()
    variants = [f"button-{kind}" for kind in ("primary", "quiet", "danger", "small")]
    variants += ["-".join(pair) for pair in product(("badge",), ("good", "warn", "danger"))]
    variants += ["-".join(pair) for pair in product(("notice",), ("info", "good", "warn", "danger"))]
    plain = (
        "button field hint error input card cards list list-row badge notice empty toolbar tabs stack row spread "
        "split muted mono visually-hidden table table-scroll diff diff-add diff-del code skip-link dialog toast "
        "page-title"
    )
    assert [name for name in (*plain.split(), *variants) if f".{name}" not in text] == []
