"""The option and the fixture by which tests reach real data; without it they are skipped, visibly."""

from pathlib import Path

import pytest
from hypothesis import settings

# A busy machine is no failure.
settings.register_profile("unhurried", deadline=None)
settings.load_profile("unhurried")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--data-root", type=Path, help="folder that holds FashionMNIST/raw, for the tests on real data")


@pytest.fixture(scope="session")
def data_root(request: pytest.FixtureRequest) -> Path:
    root: Path | None = request.config.getoption("--data-root")
    if root is None:
        pytest.skip("needs real data: give --data-root=DIR, the folder that holds FashionMNIST/raw")
    return root
