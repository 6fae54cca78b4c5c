"""The neurons that a report draws where none are chosen."""

from pathlib import Path

from hdlif.report.single_neurons import LIVELIEST, traces_of
from hdlif.training import checkpoint
from small_recipes import built, recipe

SMALL = ("model.blocks=[1, 1]",)


def test_the_liveliest_neurons_of_a_layer_are_of_different_channels(tmp_path: Path) -> None:
    """Those of a network that is not trained fire too."""
    stated = {"recipe": recipe(*SMALL).model_dump(mode="json")}
    checkpoint.save_model(tmp_path / "model.safetensors", built(*SMALL), stated)
    (drawn,) = traces_of({"run": tmp_path}, neurons=None, image=0).networks.values()
    layers: dict[str, list[str]] = {}
    for name, trace in drawn.items():
        layers.setdefault(name.rpartition(":")[0], []).append(trace.place)
    assert len(layers) == 3
    for places in layers.values():
        assert len({place.partition(",")[0] for place in places}) == len(places) == LIVELIEST
    assert sum(any(trace.spike) for trace in drawn.values()) > len(drawn) / 2
