"""Every adapter does everything, or says why not: no cell of the parity table without a test."""

from tests.providers.parity import (
    ADAPTERS,
    BEGIN,
    DOCUMENT,
    END,
    FEATURES,
    NOT_OFFERED,
    PROFILE_OF,
    find_cells,
    render,
)

CELLS = find_cells()


def test_every_cell_has_a_test_or_a_reason() -> None:
    known = set(CELLS) | set(NOT_OFFERED)
    known |= {
        (adapter, feature) for adapter, whose in PROFILE_OF.items() for of, feature in known if of == whose
    }
    assert {(adapter, feature) for adapter in ADAPTERS for feature in FEATURES} - known == set()


def test_a_test_shows_nothing_that_the_table_does_not_name() -> None:
    assert {cell for cell in CELLS if cell[0] not in ADAPTERS or cell[1] not in FEATURES} == set()


def test_what_is_not_offered_has_no_test() -> None:
    assert set(NOT_OFFERED) & set(CELLS) == set()


def test_the_documented_table_is_that_of_the_tests() -> None:
    text = DOCUMENT.read_text("utf-8")
    table = text.partition(BEGIN)[2].partition(END)[0]
    assert table == render(CELLS), "python -m tests.providers.parity writes it anew"
