"""The neurons that a report draws where none are chosen."""

from pathlib import Path

from hdlif.measure.single_neurons import LIVELIEST, traces_of
from trainings import train

FAST = ["training.epochs=1", "data.batch_size=64", "model.width=4", "model.blocks=[1, 1]", "data.train=256"]


def test_the_liveliest_neurons_of_a_layer_are_of_different_channels(tmp_path: Path) -> None:
    train("digits_hdlif", overrides=FAST, out=tmp_path / "run", memory_repeats=0)
    (drawn,) = traces_of({"run": tmp_path / "run"}, neurons=None, image=0).networks.values()
    layers: dict[str, list[str]] = {}
    for name, trace in drawn.items():
        layers.setdefault(name.rpartition(":")[0], []).append(trace.place)
    assert len(layers) == 3
    for places in layers.values():
        assert len({place.partition(",")[0] for place in places}) == len(places) == LIVELIEST
    assert sum(any(trace.spike) for trace in drawn.values()) > len(drawn) / 2
