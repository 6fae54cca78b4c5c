"""The table of equations names only what exists."""

import ast
import pydoc
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "reference" / "equations.md").read_text(encoding="utf-8")


def test_functions_and_tests_of_the_equations_exist() -> None:
    for name in set(re.findall(r"`(hdlif(?:\.\w+)+)`", PAGE)):
        assert pydoc.locate(name) is not None, name
    for name in set(re.findall(r"`(tests/[\w/]+\.py(?:::\w+)?)`", PAGE)):
        path, _, function = name.partition("::")
        tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
        assert not function or function in {one.name for one in tree.body if isinstance(one, ast.FunctionDef)}, name
