"""Energy of LIF and HD-LIF with weights of as few bits, on digits, and what moving the data would take.

    OMP_NUM_THREADS=1 python benchmarks/energy_of_digits.py [--seeds 3] [--out FILE]

Each network is trained as its recipe says, once per seed. Operations are those of `hdlif profile`, which prices no
memory access. Traffic counts the bytes of an image on a device that runs one step after the other:

weights: every layer reads its weights once per step (1.6 bits of a ternary weight, 32 of a float).
potentials: every neuron reads and writes its state, one float32, per step; a Parallel neuron has none.
values: a value that a synapse or a pool reads, or more than one node, is written once and read by each of them, per
    step: spikes in the bits of their codes, all else as float32. Everything between stays in registers. What is
    constant in time is written once.

An access of 8 bytes to an SRAM of 32 kB costs 20 pJ (45 nm; Horowitz, ISSCC 2014).
"""

import argparse
import math
import tempfile
from pathlib import Path
from typing import Any

import torch

import hdlif
from hdlif.accounting import activity
from hdlif.graph.artefact import Graph
from hdlif.graph.graph import Value
from hdlif.graph.ops import OPS
from hdlif.recipe import builders, load_recipe
from hdlif.report.accounting.operations import PACKED_BITS
from recorded import write_record

PJ_PER_BYTE = 20 / 8
NETWORKS: dict[str, tuple[str, list[str]]] = {
    "LIF fp32": ("digits_lif", []),
    "LIF 1.5-bit": ("digits_lif", ["weights={kind: ternary}"]),
    "HD-LIF 1.5-bit, 4-bit spikes": ("digits_hdlif_w1p5_s4", []),
    "… half parallel": ("digits_hdlif_w1p5_s4_parallel", []),
}


def traffic(graph: Graph, types: dict[str, Value]) -> dict[str, float]:
    """Return the bytes of an image by what they hold."""
    found = {"weights": 0.0, "potentials": 0.0, "values": 0.0}
    for node in graph.nodes:
        readers = [other for other in graph.nodes if node.name in other.inputs]
        of = types[node.name]
        size, steps = math.prod(of.shape), 1 if of.constant else graph.time_steps
        if OPS[node.op].is_synapse:
            found["weights"] += steps * node.tensors["weight"].size * PACKED_BITS[node.attributes["encoding"]] / 8
        if OPS[node.op].is_neuron(node):
            found["potentials"] += steps * len(node.attributes["states"]) * size * 2 * 4
        if len(readers) > 1 or any(OPS[other.op].is_synapse or "pool" in other.op for other in readers):
            bits = 32 if of.max_code is None else math.ceil(math.log2(of.max_code + 1))
            reads = sum(1 if types[other.name].constant else graph.time_steps for other in readers)
            found["values"] += (steps + reads) * size * bits / 8
    return found


def trained(recipe: str, overrides: list[str], seed: int) -> dict[str, Any]:
    """Train one network and return its accuracy and its energies."""
    with tempfile.TemporaryDirectory() as folder:
        run = hdlif.train(recipe, overrides=[*overrides, f"seed={seed}"], out=Path(folder) / "run", threads=1)
    energies = {key: getattr(run.result, key) for key in ("energy_mj", "energy_mj_honest")}
    return {"seed": seed, "accuracy": run.accuracy, **energies}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    seeds = range(42, 42 + given.seeds)
    rows = {}
    for name, (recipe, overrides) in NETWORKS.items():
        model = builders.build_model(load_recipe(recipe, overrides)).eval()
        seen = activity(model, torch.rand(1, 1, 1, 8, 8))
        runs = [trained(recipe, overrides, seed) for seed in seeds]
        rows[name] = {"traffic_bytes": traffic(seen.graph, seen.types), "runs": runs}
        print(name, rows[name])
    if given.out is not None:
        write_record(given.out, {"networks": rows, "pj_per_byte": PJ_PER_BYTE}, seeds=seeds)


if __name__ == "__main__":
    main()
