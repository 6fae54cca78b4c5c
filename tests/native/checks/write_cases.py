"""Writes cases for c_interface_test: every op, shapes of deployed networks, and graphs of chance.

write_cases.py FOLDER GRAPHS
"""

import sys
from pathlib import Path

import numpy as np
from hypothesis import HealthCheck, Phase, given, settings

from deployed_graphs import random_input, residual_network, tiny_network, two_streams, u_net
from hdlif.graph.artefact import Graph, dumps
from hdlif.graph.ops import OPS
from hdlif.runtime import Session
from one_op import of_one_op
from runtime.test_random_graphs import graphs


def write(folder: Path, name: str, graph: Graph, *, x_steps: int, batch: int, steps: int) -> None:
    place = folder / name
    place.mkdir(parents=True)
    x = random_input(graph, x_steps, batch, seed=steps)
    (place / "artefact").write_bytes(dumps(graph))
    (place / "sizes").write_text(f"{x_steps} {batch} {steps}\n")
    (place / "x").write_bytes(x.tobytes())
    (place / "logits").write_bytes(Session(graph, 1).run(x, steps).tobytes())


def some_graphs(count: int) -> list[Graph]:
    found: list[Graph] = []

    @settings(
        max_examples=count,
        derandomize=True,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(graph=graphs())
    def collect(graph: Graph) -> None:
        found.append(graph)

    collect()
    return found


def main(folder: Path, count: int) -> None:
    named = {
        **{f"op_{op}": of_one_op(op) for op in OPS},
        "tiny": tiny_network(),
        "residual": residual_network(width=9),
        "maps": u_net(),
        "streams": two_streams(encoding="int4"),
        **{f"random_{i}": graph for i, graph in enumerate(some_graphs(count))},
    }
    for name, graph in named.items():
        write(folder, f"{name}_steps", graph, x_steps=5, batch=2, steps=5)
        write(folder, f"{name}_static", graph, x_steps=1, batch=3, steps=4)


if __name__ == "__main__":
    np.seterr(all="ignore")
    main(Path(sys.argv[1]), int(sys.argv[2]))
