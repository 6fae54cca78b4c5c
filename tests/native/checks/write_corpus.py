"""Writes the seeds of the fuzzer: small graphs of every op, in the form that `encoded_program.h` states.

PYTHONPATH=src:tests python tests/native/checks/write_corpus.py FOLDER
"""

import struct
import sys
from collections.abc import Iterator
from pathlib import Path

from deployed_graphs import Builder, residual_network, tiny_network, two_streams
from hdlif.graph.artefact import INPUT, Graph
from hdlif.runtime.program import flatten_graph

IS_STATIC, HAS_ZEROS = 1, 4


def encoded(graph: Graph, *, steps: int, batch: int, mode: int, table: int) -> bytes:
    program = flatten_graph(graph)
    parts = [struct.pack("<BBBB", steps - 1, batch - 1, mode | table << 4, 0)]
    parts.append(struct.pack("<HBB", len(program.words), len(program.scalars), len(program.buffers)))
    parts.append(struct.pack(f"<{len(program.words)}i", *program.words))
    parts.append(struct.pack(f"<{len(program.scalars)}f", *program.scalars))
    parts += [struct.pack("<H", buffer.size) + buffer.tobytes() for buffer in program.buffers]
    return b"".join(parts)


def pointwise(b: Builder, seed: int) -> Graph:
    """Each op that treats entries by themselves, with rows of each kind; a value read early and late."""
    rows = {"per_step": bool(seed & 1), "per_channel": bool(seed & 2)}
    first = b.affine(INPUT, per_step=rows["per_step"])
    x = b.hd_lif(b.passing(first, identity=(True, False)), **rows)
    x = b.quantise(b.parallel(b.graded_lif(x, **rows), **rows), bits=1 + seed % 8, **rows)
    x = b.glif(b.add("add", b.affine(x), first), **rows)
    x = b.program(b.lif(x, reset=("soft", "hard")[seed % 2], **rows), **rows)
    return b.graph(b.add("add", x, b.affine(first)))


def layers(b: Builder, encoding: str, bits: int) -> Graph:
    """A layer on a static input, on codes, on sparse floats and on dense ones, and pools of codes and floats."""
    x = b.conv(INPUT, 4, encoding="float32")
    x = b.conv(b.quantise(b.parallel(x), bits=bits), 3, stride=(2, 1), encoding=encoding)
    x = b.conv(b.hd_lif(x), 17, kernel=(1, 2), padding=(0, 1), encoding=encoding)
    x = b.conv(x, 4, kernel=(2, 2), dilation=(1, 2), padding=(1, 1), encoding=encoding)
    x = b.conv(b.quantise(x, bits=bits), 4, dilation=(2, 1), padding=(2, 1), groups=2, encoding=encoding)
    codes = b.quantise(x, bits=bits)
    x = b.add("max_pool", codes, kernel=(2, 2), stride=(1, 1), padding=(1, 1))
    x = b.add("upsample", b.add("sum_pool", x, kernel=(2, 1), stride=(1, 1)), factor=(1, 2))
    x = b.add("sum_pool", b.add("max_pool", b.affine(x), kernel=(1, 1), stride=(1, 1), padding=(0, 0)),
              kernel=(1, 2), stride=(2, 1))  # fmt: skip
    x = b.seca(b.conv(x, 5, kernel=(1, 1), padding=(0, 0), encoding=encoding), kernel=3)
    return b.graph(b.linear(b.add("global_sum_pool", b.lif(x)), 4, encoding=encoding))


def graphs() -> Iterator[tuple[str, Graph]]:
    yield "tiny", tiny_network()
    yield "residual", residual_network(time_steps=2, width=3)
    yield "two_streams", two_streams(time_steps=2, encoding="int4", width=4)
    for seed in range(8):
        yield f"pointwise_{seed}", pointwise(Builder((2 + seed % 2, 2, 2), 2, seed), seed)
    for i, encoding in enumerate(("float32", "ternary", "binary", "int2", "int4", "int8")):
        yield f"layers_{encoding}", layers(Builder((1 + i % 2, 4, 3), 2, i), encoding, (4, 4, 1, 2, 3, 8)[i])


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for i, (name, graph) in enumerate(graphs()):
        for is_static in (False, True):
            mode = IS_STATIC * is_static | HAS_ZEROS * (i % 2)
            seed = encoded(graph, steps=(2, 3)[is_static], batch=1 + i % 2, mode=mode, table=i % 3)
            (folder / f"{name}{'_static' * is_static}").write_bytes(seed)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
