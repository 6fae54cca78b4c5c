"""HD-LIF and the ordinary network that one would use otherwise, in one table."""

from collections.abc import Iterator

from figures import records
from figures.markdown import of_values, table
from figures.registry import Record
from figures.registry import table as registered
from figures.tables.elsewhere import DEVICES, PEER
from figures.tables.protocol import ARMS, DATA, SERIES, best, best_online, energy, trainings
from hdlif.report.engine_times import EARLY, TWIN

ORDINARY = ("relu", "gru")
"""Networks for time series that do not spike."""
ENGINE = f"{TWIN}onnxruntime_int8"


@registered("hdlif_and_ordinary", None)
def _(record: Record) -> str:
    rows = [*_images(), *_series(), *_deployed(), *_microcontrollers()]
    return table(["task", "measure", "HD-LIF", "ordinary", "ordinary network"], rows)


def _images() -> Iterator[list[str]]:
    task = "CIFAR-10 (JPEG), ResNet-18 of width 16, low-bit"
    of_arm = {arm: list(records.of_arm(ARMS[arm][0]).values()) for arm in "bcd"}
    spiking = of_arm["d"]
    for arm, network in (("b", "the same layers, one step"), ("c", "wider, with no less energy")):
        if spiking and (own := of_arm[arm]):
            scores = [of_values([one["accuracy"] for one in found], ".1f", 100) for found in (spiking, own)]
            yield [task, "accuracy %", *scores, network]
            yield [task, "µJ, all operations", *(f"{energy(found):.1f}" for found in (spiking, own)), network]


def _series() -> Iterator[list[str]]:
    for data, shown in DATA.items():
        found = trainings(data)
        online, ordinary = best_online(found), best(one for one in found if one.network in ORDINARY)
        if online is not None and ordinary is not None:
            scores = [of_values(list(one.accuracies.values()), ".1f", 100) for one in (online, ordinary)]
            yield [f"{shown}, {online.shown}", "accuracy %", *scores, SERIES[ordinary.network]]


def _deployed() -> Iterator[list[str]]:
    engines = records.record("runtime")["engines"]
    task, network = "Fashion-MNIST, ResNet-18, early exit", "the same layers, INT8, ONNX Runtime"
    both = [engines[name] for name in (f"hdlif{EARLY}", ENGINE)]
    yield [task, "accuracy %", *(f"{100 * one['accuracy']:.1f}" for one in both), network]
    yield [task, "ms, two threads", *(f"{one['latency_ms']['median']:.2f}" for one in both), network]
    yield [task, "file (MB)", *(f"{one['file_bytes'] / 1e6:.1f}" for one in both), network]


def _microcontrollers() -> Iterator[list[str]]:
    for device, kinds in records.record("c")["devices"].items():
        both = [f"{kinds[name]['answer'] / 1e6:.2f}" for name in ("fixed, one call", PEER)]
        yield [f"digits, {DEVICES[device]}", "million instructions", *both, f"the same layers, {PEER}"]
