"""An ordinary network made spiking, from its recipe to the compiled runtime."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from hdlif.cli.export import export_file as export
from hdlif.cli.profile import profile
from hdlif.errors import CheckpointError
from hdlif.recipe import builders, load_recipe
from hdlif.recipe.runs.checkpoints import load_trained
from hdlif.runtime import Session
from torch_networks import Residual
from trainings import train

OVERRIDES = [
    "model={kind: spiking, of: 'torch_networks:Residual', pretrained: whole.safetensors}",
    "weights={kind: ternary}",
    "training.epochs=1",
    "data.train=64",
]


def test_trained_from_the_weights_of_a_file_it_runs_without_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    out = tmp_path / "run"
    with pytest.raises(CheckpointError, match=r"whole.safetensors: cannot be read"):
        train("digits_hdlif", overrides=OVERRIDES, out=out, memory_repeats=0)
    save_file(Residual(num_classes=3).state_dict(), tmp_path / "whole.safetensors")
    train("digits_hdlif", overrides=OVERRIDES, out=out, memory_repeats=0)
    assert json.loads((out / "parts.json").read_text()).keys() == {"torch_networks"}
    (tmp_path / "whole.safetensors").unlink()
    export(out, out=tmp_path / "net.hdlif.safetensors")
    x = builders.build_data(load_recipe("digits_hdlif", OVERRIDES)).test.sequence(torch.arange(8))[0]
    with torch.no_grad():
        expected, _ = load_trained(out).network(x, steps=range(4))
    logits = Session(tmp_path / "net.hdlif.safetensors").run(x.numpy(), 4)
    np.testing.assert_allclose(logits, expected.numpy(), atol=1e-4)
    rows = profile(str(tmp_path / "net.hdlif.safetensors"), data="digits").as_dict()["layers"]
    assert {"network.blocks.0.conv1", "network.blocks.1.relu_2", "network.fc"} <= {row["name"] for row in rows}
