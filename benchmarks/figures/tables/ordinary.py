"""HD-LIF and the ordinary network that one would use otherwise, in one table."""

from collections.abc import Iterator
from statistics import mean

from figures import records
from figures.markdown import of_values, table
from figures.registry import Record
from figures.registry import table as registered
from figures.tables.protocol import ARMS, DATA, SERIES, best_and_online, trainings
from hdlif.report.engine_times import EARLY, TWIN

ORDINARY = ("relu", "gru")
"""Networks for time series that do not spike."""
PEER = f"{TWIN}onnxruntime_int8"
DEVICES = {"cortex-m0plus-mps2": "Cortex-M0+", "cortex-m4": "Cortex-M4", "cortex-m55": "Cortex-M55"}


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
            energies = [f"{1e3 * mean(one['energy_mj_honest'] for one in found):.1f}" for found in (spiking, own)]
            yield [task, "µJ, all operations", *energies, network]


def _series() -> Iterator[list[str]]:
    for data, shown in DATA.items():
        found, ordinary = best_and_online(data), [one for one in trainings(data) if one.network in ORDINARY]
        if found is not None and ordinary:
            best = max(ordinary, key=lambda one: one.mean("validation_accuracy"))
            both = [[one["accuracy"] for one in training.records.values()] for training in (found[1], best)]
            scores = [of_values(accuracies, ".1f", 100) for accuracies in both]
            yield [f"{shown}, {found[1].shown}", "accuracy %", *scores, SERIES[best.network]]


def _deployed() -> Iterator[list[str]]:
    engines = records.record("runtime")["engines"]
    task, network = "Fashion-MNIST, ResNet-18, early exit", "the same layers, INT8, ONNX Runtime"
    both = [engines[name] for name in (f"hdlif{EARLY}", PEER)]
    yield [task, "accuracy %", *(f"{100 * one['accuracy']:.1f}" for one in both), network]
    yield [task, "ms, two threads", *(f"{one['latency_ms']['median']:.2f}" for one in both), network]
    yield [task, "file (MB)", *(f"{one['file_bytes'] / 1e6:.1f}" for one in both), network]


def _microcontrollers() -> Iterator[list[str]]:
    for device, kinds in records.record("c")["devices"].items():
        both = [f"{kinds[name]['answer'] / 1e6:.2f}" for name in ("fixed, one call", "CMSIS-NN int8")]
        yield [f"digits, {DEVICES[device]}", "million instructions", *both, "the same layers, int8, CMSIS-NN"]
