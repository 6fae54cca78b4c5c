"""Networks of checkpoints: one build and one reading of each, and the values of the file in every layer."""

from pathlib import Path

import pytest
import torch

from hdlif import models
from hdlif.cli.export import export_file
from hdlif.recipe import builders
from hdlif.recipe.runs.checkpoints import load_trained
from hdlif.training import checkpoint
from small_recipes import recipe


def saved(path: Path, *overrides: str) -> torch.nn.Module:
    """Return a network that was never trained, of which `path` becomes the checkpoint."""
    torch.manual_seed(0)
    made = recipe(*overrides)
    network = builders.build_model(made)
    checkpoint.save_model(path, network, {"recipe": made.model_dump(mode="json"), "epoch": 1})
    return network.eval()


@pytest.mark.parametrize("options", [{}, {"confidence": "auto"}, {"to": "c", "arithmetic": "fixed"}])
def test_an_export_builds_a_network_once_and_reads_its_file_once(
    options: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved(tmp_path / "model.safetensors")
    done = []
    build, read = models.as_network, checkpoint.safe_open
    monkeypatch.setattr(models, "as_network", lambda *given: (done.append("built"), build(*given))[1])
    monkeypatch.setattr(checkpoint, "safe_open", lambda *given, **how: (done.append("read"), read(*given, **how))[1])
    export_file(tmp_path, tmp_path / "network.c", **options)
    assert sorted(done) == ["built", "read"]


@pytest.mark.parametrize("overrides", [(), ("weights.kind=ternary",), ("neuron={kind: glif}",), ("model.width=300",)])
def test_a_network_of_a_checkpoint_has_the_values_of_the_file_alone(overrides: tuple[str, ...], tmp_path: Path) -> None:
    expected, x = saved(tmp_path / "model.safetensors", *overrides), torch.rand(1, 2, 1, 8, 8)
    torch.manual_seed(3)
    loaded = load_trained(tmp_path).network
    assert torch.initial_seed() == 3
    with torch.no_grad():
        logits = [network(x, steps=range(4))[0] for network in (expected, loaded)]
    assert torch.equal(*logits)
    pairs = zip(expected.parameters(), loaded.parameters(), strict=True)
    assert all(one.requires_grad == two.requires_grad for one, two in pairs)
