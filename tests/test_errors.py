"""The command that installs what is missing."""

import importlib.metadata
import json
from typing import Any

import pytest

from cases import naming
from hdlif.errors import MissingExtraError, pip_install


def test_extras_are_installed_from_where_the_package_was(monkeypatch: pytest.MonkeyPatch) -> None:
    class Distribution:
        kept: dict[str, Any] | None

        def read_text(self, name: str) -> str | None:
            assert name == "direct_url.json"
            return None if self.kept is None else json.dumps(self.kept)

    installed = Distribution()
    monkeypatch.setattr(importlib.metadata, "distribution", {"hdlif": installed}.__getitem__)
    for installed.kept, command in (
        (None, "pip install 'hdlif[export]'"),
        ({"url": "file:///a%20copy", "dir_info": {}}, "pip install '/a copy[export]'"),
        ({"url": "file:///copy", "dir_info": {"editable": True}}, "pip install -e '/copy[export]'"),
        ({"url": "https://host/hdlif.whl", "archive_info": {}}, "pip install 'hdlif[export] @ https://host/hdlif.whl'"),
    ):
        with naming(command):
            assert pip_install("export") == command
            assert str(MissingExtraError.of("onnx", "export")).endswith(
                f"onnx is not installed; install it with: {command}"
            )
