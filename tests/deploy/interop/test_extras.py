"""Libraries that are not installed are named, with what brings them."""

import importlib
import sys

import pytest

from hdlif.errors import MissingExtraError


@pytest.mark.parametrize("library", ["snntorch", "spikingjelly"])
def test_a_library_that_is_not_there_is_named(library: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [one for one in sys.modules if one.split(".")[0] == library]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, library, None)
    monkeypatch.delitem(sys.modules, f"hdlif.deploy.interop.{library}", raising=False)
    with pytest.raises(MissingExtraError, match=r"is not installed; .* comes with: pip install 'hdlif\[peers\]'"):
        importlib.import_module(f"hdlif.deploy.interop.{library}")
