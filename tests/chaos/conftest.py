"""Only where processes can be looked at as Linux shows them."""

import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    for item in items:
        if not item.path.is_relative_to(HERE):
            continue
        if not sys.platform.startswith("linux"):
            item.add_marker(pytest.mark.skip(reason="finds the processes to kill in /proc"))
        elif "long" in item.keywords and "long" not in str(config.option.markexpr):
            item.add_marker(pytest.mark.skip(reason="long; run it with: pytest -n0 -m long tests/chaos"))
