"""The detector: its levels, places, and what is deployed of it."""

from collections.abc import Sequence
from functools import partial

import pytest
import torch
from torch import nn

from cases import every
from hdlif.deploy import fold, lower
from hdlif.graph.artefact import InputRecord, TaskRecord, dumps, loads
from hdlif.graph.detection import count_outputs, split_levels
from hdlif.models import detector
from hdlif.nn import HDLIF, QuantConv2d, Ternary

SIZE, T = (16, 32), 2
SMALL = {"classes": 3, "width": 4, "blocks": [1, 1, 1], "head_width": 8}


def network(strides: Sequence[int], **options: object) -> nn.Module:
    torch.manual_seed(0)
    arguments = {"neuron": lambda place: HDLIF(time_steps=T), **SMALL, **options}
    return detector(strides=strides, **arguments).eval()


@every(strides=[(8,), (16,), (8, 16), (4, 8, 16)])
def test_levels_follow_one_another_from_fine_to_coarse(strides: tuple[int, ...]) -> None:
    made, x = network(strides), 20 * torch.rand(1, 2, 3, *SIZE)
    with torch.no_grad():
        outputs, _ = made(x, steps=range(T))
    assert outputs.shape == (T, 2, count_outputs(3, strides, *SIZE))
    levels = split_levels(outputs, 3, strides, *SIZE)
    # At first an object is rare, and boxes have about five strides.
    for logits, distances in levels:
        assert float(logits.mean()) == pytest.approx(-4.6, abs=0.3)
        assert float(distances.mean()) == pytest.approx(1.0, abs=0.3)
    # The coarsest map reaches each level: of a level it changes, its own outputs change.
    coarse = made.body.get_submodule("stage3")
    coarse.register_forward_hook(lambda module, given, got: (got[0] + 100, got[1]))
    moved = split_levels(made(x, steps=range(T))[0], 3, strides, *SIZE)
    for (before, _), (after, _) in zip(levels, moved, strict=True):
        assert not torch.equal(before, after)


@every(strides=[(8,), (8, 16)])
def test_what_is_deployed_gives_the_outputs_of_the_network(strides: tuple[int, ...]) -> None:
    made = network(strides, conv=partial(QuantConv2d, quantizer=Ternary()))
    given = {"input": InputRecord((3, *SIZE), (0.5,) * 3, (0.25,) * 3, fit="letterbox"), "labels": ("a", "b", "c")}
    task = TaskRecord("detect", threshold=0.4, strides=strides, overlap=0.5)
    graph = lower(made, **given, time_steps=T, task=task)
    read = loads(dumps(graph), "file")
    assert (read.task, read.labels) == (task, ("a", "b", "c"))
    x = torch.rand(1, 2, 3, *SIZE)
    with torch.no_grad():
        expected, _ = made(x, steps=range(T))
        folded, _ = fold(made, **given, time_steps=T, task=task)(x, steps=range(T))
    torch.testing.assert_close(folded, expected, atol=1e-4, rtol=0)


@every("options", "said", of=[
    ({"strides": (8, 32)}, r"strides = \[8, 32\]; choose some of \[4, 8, 16\], from small to large"),
    ({"strides": (16, 8)}, "choose some of"),
    ({"strides": ()}, "choose some of"),
    ({"strides": (8,), "blocks": [1, 0]}, "give at least one stage of at least one block"),
])  # fmt: skip
def test_levels_that_no_stage_has_are_refused(options: dict[str, object], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        network(**options)
