"""The marker by which a test fills a cell of the parity table, and the long run by command."""

import pytest


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers", "parity(adapter, *features): this test shows that the adapter has these features"
    )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if "long" in str(config.option.markexpr):
        return
    for item in items:
        if "long" in item.keywords and item.path.parent.name == "providers":
            item.add_marker(pytest.mark.skip(reason="long; run it with: pytest -n0 -m long tests/providers"))
