"""A ResNet-18 whose neurons are a program beside one with the shipped HD-LIF: load, file, and an image, in turns.

    python benchmarks/bench_equation.py [--threads 2] [--rounds 15] [--out FILE]

CIFAR stem, 1.5-bit weights, 4-bit spikes, T = 4, weights as they are drawn and batch norm's statistics of noise; the
same weights in each network. "hd_lif" is recognised and has a kernel of its own; "equation" is HD-LIF's equation in a
form that is not, and runs operation by operation; "adaptive" has a threshold that rises with what the neuron emits, and
so one state more.
"""

import argparse
import math
import statistics
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from hdlif.artefact import InputRecord, dumps, loads
from hdlif.deploy import lower
from hdlif.models import resnet18
from hdlif.nn import HDLIF, EquationNeuron, Parameter, QuantConv2d, SpikeQuantizer, Ternary
from hdlif.runtime import Session
from recorded import write_record

T, CLASSES = 4, 10


class Equation(EquationNeuron):
    leak = Parameter(0.5)
    threshold = Parameter(0.5)

    @staticmethod
    def step(current: Any, potential: Any, leak: Any, threshold: Any) -> Any:
        membrane = leak * potential + current
        return torch.relu(membrane - threshold), torch.minimum(membrane, threshold)


class Adaptive(EquationNeuron):
    states = ("potential", "adaptation")
    leak = Parameter(0.5)
    threshold = Parameter(0.5, high=math.inf)
    decay = Parameter(0.9)
    rise = Parameter(0.1)

    @staticmethod
    def step(current: Any, potential: Any, adaptation: Any, leak: Any, threshold: Any, decay: Any, rise: Any) -> Any:
        membrane = leak * potential + current
        raised = threshold + adaptation
        spike = torch.relu(membrane - raised)
        return spike, torch.minimum(membrane, raised), decay * adaptation + rise * spike


NEURONS = {"hd_lif": HDLIF, "equation": Equation, "adaptive": Adaptive}


def deployed(kind: type) -> bytes:
    """The artefact of a network with these neurons."""
    torch.manual_seed(0)
    network = resnet18(
        neuron=lambda place: kind(T, quantizer=SpikeQuantizer()),
        conv=partial(QuantConv2d, quantizer=Ternary()),
        classes=CLASSES,
    )
    with torch.no_grad():
        network.train()(torch.randn(1, 16, 3, 32, 32), steps=range(T))
    record = InputRecord((3, 32, 32), (0.0,) * 3, (1.0,) * 3)
    labels = tuple(map(str, range(CLASSES)))
    return dumps(lower(network.eval(), input=record, labels=labels, time_steps=T))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    files = {name: deployed(kind) for name, kind in NEURONS.items()}
    loading: dict[str, list[float]] = {name: [] for name in files}
    running: dict[str, list[float]] = {name: [] for name in files}
    for _ in range(5):
        for name, content in files.items():
            start = time.perf_counter()
            Session(loads(content, name), given.threads)
            loading[name].append(time.perf_counter() - start)
    sessions = {name: Session(loads(content, name), given.threads) for name, content in files.items()}
    x = np.random.default_rng(0).normal(size=(1, 1, 3, 32, 32)).astype(np.float32)
    for number in range(given.rounds + 2):
        for name, session in sessions.items():
            start = time.perf_counter()
            session.run(x)
            if number > 1:
                running[name].append(time.perf_counter() - start)
    rows = {}
    for name in files:
        ratios = [mine / its for mine, its in zip(running[name], running["hd_lif"], strict=True)]
        rows[name] = {
            "bytes": len(files[name]),
            "load_ms": 1e3 * statistics.median(loading[name]),
            "ms": 1e3 * statistics.median(running[name]),
            "ratio": {"median": statistics.median(ratios), "least": min(ratios), "most": max(ratios)},
        }
        print(name, rows[name])
    if given.out:
        record = {"networks": rows, "threads": given.threads, "instructions": sessions["hd_lif"].instructions}
        write_record(given.out, record, seeds=[0])


if __name__ == "__main__":
    main()
