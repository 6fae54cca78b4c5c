"""The structure of an imported network in a recipe; and libraries that are not installed."""

import importlib
import json
import re
import sys
from typing import Any

import pytest
import torch

from cases import every, naming
from deployed_graphs import tiny_network
from hdlif.deploy.interop.structure import build
from hdlif.deploy.nir_export import to_nir
from hdlif.deploy.onnx import unrolled
from hdlif.errors import ConversionError, MissingExtraError, pip_install
from hdlif.nn import QuantLinear, Recurrent, Ternary, UnitLIF

T = 3


def linear(a: int, b: int) -> dict[str, Any]:
    return {"kind": "linear", "in_features": a, "out_features": b, "bias": True}


def structure(**changes: Any) -> dict[str, Any]:
    whole = {
        "input": [2, 1, 1],
        "outputs": 2,
        "output": "last",
        "children": {
            "flat": {"kind": "flatten"},
            "first": linear(2, 4),
            "fire": {"kind": "lif", "channels": 4, "reset": 0.0},
            "middle": linear(4, 4),
            "again": {
                "kind": "recurrent",
                "neuron": {"kind": "lif", "channels": None, "reset": "soft"},
                "synapse": linear(4, 4),
            },
            "last": linear(4, 2),
        },
        "lines": [
            ["flat", "child", [""]],
            ["first", "child", ["flat"]],
            ["fire", "child", ["first"]],
            ["middle", "child", ["fire"]],
            ["both", "sum", ["middle", "fire"]],
            ["half", "multiple", ["both"], 0.5, 0.0],
            ["again", "child", ["half"]],
            ["last", "child", ["again"]],
        ],
    }
    # As it comes from a recipe.
    found: dict[str, Any] = json.loads(json.dumps({**whole, **changes}))
    return found


def test_it_is_built_as_it_says() -> None:
    quantizer = Ternary()
    network = build(structure(), T, quantizer=quantizer)
    middle, again = network.get_submodule("middle"), network.get_submodule("again")
    assert isinstance(middle, QuantLinear)
    assert middle.quantizer is quantizer
    assert type(network.get_submodule("first")) is type(network.get_submodule("last")) is torch.nn.Linear
    assert isinstance(again, Recurrent)
    assert isinstance(again.neuron, UnitLIF)
    y, state = network(torch.randn(T, 5, 2, 1, 1), None, range(T))
    assert y.shape == (T, 5, 2)
    assert state is not None
    assert set(state) == {"fire", "again"}


@every(
    changes=[
        {"children": {}},
        {"children": 3},
        {"lines": [["flat", "child", ["nowhere"]]]},
        {"lines": [["flat", "child", [""]], ["flat", "child", [""]]]},
        {"lines": [["other", "child", [""]]], "output": "other"},
        {"lines": [["x", "multiple", [""], 1e999, 0.0]], "output": "x"},
        {"output": "nothing"},
        {"children": {"a": {"kind": "lstm"}}},
        {"children": {"a": linear(2**40, 2)}},
        {"children": {"a": {"kind": "flatten", "other": 1}}},
    ]
)
def test_what_is_no_structure_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ConversionError, match="not the structure of a network"):
        build(structure(**changes), T)


def test_a_library_that_is_not_installed_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    for library, extra, use in (
        ("snntorch", "peers", lambda: importlib.import_module("hdlif.deploy.interop.snntorch")),
        ("spikingjelly", "peers", lambda: importlib.import_module("hdlif.deploy.interop.spikingjelly")),
        ("onnx", "export", lambda: unrolled(tiny_network())),
        ("nir", "nir", lambda: to_nir(tiny_network())),
    ):
        for name in [one for one in sys.modules if one.split(".")[0] == library]:
            monkeypatch.delitem(sys.modules, name)
        monkeypatch.setitem(sys.modules, library, None)
        monkeypatch.delitem(sys.modules, f"hdlif.deploy.interop.{library}", raising=False)
        with naming(library), pytest.raises(MissingExtraError, match=re.escape(pip_install(extra))):
            use()
