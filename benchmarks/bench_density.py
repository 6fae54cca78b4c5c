"""Speed of the compiled runtime against the density of spikes: one network, its thresholds shifted alike.

    python benchmarks/bench_density.py ARTEFACT [ARTEFACT ...] [--data NAME] [--data-root DIR]
        [--densities 0.05,0.1,0.2,0.3] [--threads N] [--repeats N] [--out FILE]

Density is the share of non-zero codes among all codes that neurons emit, over all steps. The shift that gives it is
found by bisection on the images that are timed. Accuracy is lost by that: only the time is of interest here. "whole" is
a run of all steps; "step by step" streams them, one call each, so that nothing is known of the step before, and each
sum is made anew. Further artefacts, such as the same network trained without a penalty, are timed as they are.
"""

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np

from hdlif.artefact import Graph, Node, load
from hdlif.measure.engine_times import images_of, in_turns, spread
from hdlif.measure.engines import Floats
from hdlif.ops import OPS, infer_values
from hdlif.ops.program import program_of, row_names
from hdlif.report.tables import aligned
from hdlif.runtime import Session, State
from recorded import write_record

IMAGES = 8


def shifted(graph: Graph, shift: float) -> Graph:
    """The network with `shift` added to every threshold."""

    def moved(node: Node) -> Node:
        if node.op != "program":
            return node
        places = {name: key for key, name in zip(row_names(program_of(node)), program_of(node).rows, strict=True)}
        key = places["threshold"]
        return replace(node, tensors={**node.tensors, key: node.tensors[key] + np.float32(shift)})

    return replace(graph, nodes=tuple(map(moved, graph.nodes)))


def density(graph: Graph, images: Floats) -> float:
    """Share of non-zero codes among those that the network's neurons emit."""
    types = infer_values(graph)
    emitting = [node.name for node in graph.nodes if OPS[node.op].emits_spikes(node) and types[node.name].max_code]
    values = Session(graph).values(images[None], graph.time_steps)
    codes = [values[name] for name in emitting]
    return sum(np.count_nonzero(c) for c in codes) / sum(c.size for c in codes)


def at_density(graph: Graph, images: Floats, target: float) -> tuple[Graph, float]:
    """The network with its thresholds shifted to a density, and the density reached."""
    low, high = -2.0, 2.0
    for _ in range(12):
        middle = (low + high) / 2
        low, high = (middle, high) if density(shifted(graph, middle), images) > target else (low, middle)
    found = shifted(graph, high)
    return found, density(found, images)


def stream(session: Session, x: Floats) -> None:
    state: State | None = None
    for _ in range(session.time_steps):
        _, state = session.step(x, state, out=state)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("artefacts", type=Path, nargs="+", metavar="ARTEFACT")
    parser.add_argument("--data")
    parser.add_argument("--data-root", type=Path)
    parser.add_argument("--densities", default="0.05,0.1,0.15,0.2,0.25,0.3")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    first, *others = arguments.artefacts
    graph = load(first)
    images = images_of(graph.input, arguments.data, arguments.data_root, compared=IMAGES).compared
    targets = [float(v) for v in arguments.densities.split(",")]
    reached, sessions = {"as trained": density(graph, images)}, {"as trained": Session(graph, arguments.threads)}
    for target in targets:
        network, reached[f"{target:g}"] = at_density(graph, images, target)
        sessions[f"{target:g}"] = Session(network, arguments.threads)
    for path in others:
        network = load(path)
        reached[path.name], sessions[path.name] = density(network, images), Session(network, arguments.threads)
    runs = {(name, "whole"): (lambda x, s=session: s.run(x[None])) for name, session in sessions.items()}
    runs |= {(name, "step by step"): (lambda x, s=session: stream(s, x)) for name, session in sessions.items()}
    rounds = in_turns(runs, np.split(images, len(images)), arguments.repeats, 1)
    times = {key: spread([1e3 * seconds for taken in rounds for seconds in taken[key]]) for key in runs}
    rows = [
        [name, f"{reached[name]:.3f}"]
        + [f"{times[name, way]['median']:.2f} ({times[name, way]['min']:.2f})" for way in ("whole", "step by step")]
        for name in sessions
    ]
    print(aligned(["thresholds", "density", "ms an image, whole (least)", "step by step (least)"], rows))
    if arguments.out:
        record = {
            name: {"density": reached[name], **{way: times[name, way] for way in ("whole", "step by step")}}
            for name in sessions
        }
        write_record(arguments.out, {"artefact": first.name, "rows": record}, seeds=None)


if __name__ == "__main__":
    main()
