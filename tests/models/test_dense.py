"""Fully connected networks: shapes, chunks of steps, and the deployed form."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch

from hdlif.artefact import InputRecord
from hdlif.deploy import export
from hdlif.models import Network, dense
from hdlif.models.blocks import NormFactory
from hdlif.nn import HDLIF, Affine, BatchNorm2d
from hdlif.runtime import Session
from small_networks import scatter_norms

T = 5
RECORD = InputRecord((3, 1, 1), (0.0,) * 3, (1.0,) * 3, kind="series", resize="none", frames="rows")


def network(*widths: int, norm: NormFactory = BatchNorm2d) -> Network:
    torch.manual_seed(0)
    made = dense(neuron=lambda place: HDLIF(T), classes=4, in_channels=3, widths=widths, norm=norm)
    scatter_norms(made)
    for module in made.modules():
        if isinstance(module, Affine):
            torch.nn.init.uniform_(module.weight, 0.5, 2)
            torch.nn.init.normal_(module.bias)
    return made.eval()


def test_a_layer_multiplies_by_a_matrix() -> None:
    net = network(6, 7)
    assert sum(p.numel() for n, p in net.named_parameters() if n.endswith("weight") and p.ndim > 1) == 18 + 42 + 28
    x = torch.randn(1, 2, 3, 1, 1)
    weight = net.stem.fc1.weight[:, :, 0, 0]
    torch.testing.assert_close(net.stem.fc1(x[0])[..., 0, 0], x[0, ..., 0, 0] @ weight.T)


def test_a_chunk_of_all_steps_equals_steps_one_by_one() -> None:
    net, x = network(6, 7), torch.randn(T, 2, 3, 1, 1)
    whole, _ = net(x, steps=range(T))
    state, parts = None, []
    for t in range(T):
        logits, state = net(x[t : t + 1], state, steps=range(t, t + 1))
        parts.append(logits)
    torch.testing.assert_close(torch.cat(parts), whole)
    assert not torch.equal(whole[0], whole[1])


@pytest.mark.parametrize("norm", [BatchNorm2d, Affine])
def test_it_is_deployed(tmp_path: Path, norm: NormFactory) -> None:
    net, x = network(6, 7, norm=norm), torch.randn(T, 2, 3, 1, 1)
    export(net, tmp_path / "x.hdlif.safetensors", input=RECORD, labels=tuple("abcd"), time_steps=T)
    found = Session(tmp_path / "x.hdlif.safetensors").run(x.numpy())
    np.testing.assert_allclose(found, net(x, steps=range(T))[0].detach().numpy(), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("widths", [[], [0], [True]])
def test_widths_that_there_are_not(widths: list[int]) -> None:
    with pytest.raises(ValueError, match=re.escape(f"widths = {widths}")):
        dense(neuron=lambda place: HDLIF(T), classes=4, in_channels=3, widths=widths)
