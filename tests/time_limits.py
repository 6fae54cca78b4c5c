"""Longer time limits for the tests that are not of the default tier, which pyproject.toml gives one of its own."""

import pytest

SLOW_SECONDS = 1800
"""Longest that a slow test may take; the slowest need minutes where nothing else runs."""
TIERS = ("slow", "peers")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give these tests `SLOW_SECONDS`, where they state no limit themselves."""
    for item in items:
        if any(item.get_closest_marker(tier) for tier in TIERS) and item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(SLOW_SECONDS))
