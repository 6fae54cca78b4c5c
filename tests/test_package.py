"""Names of the package itself: its version, and earlier names of packages that have moved."""

from importlib import import_module

import pytest

import hdlif


def test_the_version_is_found_when_it_is_asked_for() -> None:
    assert hdlif.__version__[0].isdigit()
    with pytest.raises(AttributeError, match="versoin"):
        hdlif.versoin  # noqa: B018


def test_a_moved_package_and_its_modules_are_the_same_by_both_names() -> None:
    for earlier, now in {**hdlif._BEFORE, "artefact.io": "graph.artefact.io", "ops.graph": "graph.ops.graph"}.items():
        module = import_module(f"hdlif.{earlier}")
        assert module is import_module(f"hdlif.{now}"), earlier
        assert module.__spec__.name == module.__name__ == f"hdlif.{now}", earlier
