"""Packages that have moved are found by their earlier names too."""

from importlib import import_module

import hdlif


def test_a_moved_package_and_its_modules_are_the_same_by_both_names() -> None:
    for earlier, now in {**hdlif._BEFORE, "artefact.io": "graph.artefact.io", "ops.graph": "graph.ops.graph"}.items():
        module = import_module(f"hdlif.{earlier}")
        assert module is import_module(f"hdlif.{now}"), earlier
        assert module.__spec__.name == module.__name__ == f"hdlif.{now}", earlier
