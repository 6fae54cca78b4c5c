"""Deployed networks all of whose values count, built as C and run beside the reference."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from deployed_graphs import Builder, random_input
from hdlif.deploy.c import translate
from hdlif.deploy.c.building import FLAGS, Library
from hdlif.deploy.c.c_file import has_one_frame
from hdlif.deploy.c.fixed.fixed_point import FixedPoint, fixed_point
from hdlif.graph.dataflow import reads
from hdlif.graph.graph import INPUT, MAP_TASKS, Graph, Node
from hdlif.graph.inference import infer_values
from hdlif.runtime import reference

STEPS, BATCH = 5, 2


def joined(graph: Graph) -> Graph:
    """The graph with what nobody reads added to its outputs, by weights drawn at random; of maps, as it is."""
    if graph.task.kind in MAP_TASKS:
        return graph
    nodes, types, out = list(graph.nodes), infer_values(graph), graph.output
    read = {name for node in nodes for name in reads(node)}
    rng = np.random.default_rng(1)
    for k, node in enumerate(graph.nodes):
        if node.name in read or node.name == graph.output:
            continue
        weight = rng.normal(size=(len(graph.labels), int(np.prod(types[node.name].shape)))).astype(np.float32)
        attributes = {"encoding": "float32", "role": "classifier"}
        nodes.append(Node("flatten", f"joined{k}.flat", (node.name,)))
        nodes.append(Node("linear", f"joined{k}.sum", (f"joined{k}.flat",), attributes, {"weight": weight}))
        nodes.append(Node("add", f"joined{k}.add", (out, f"joined{k}.sum")))
        out = f"joined{k}.add"
    return replace(graph, nodes=tuple(nodes), output=out)


def in_one_call(steps: int, *, kind: str = "image", inputs: int = 70) -> Graph:
    """A network that C computes in one call, too.

    Its windows are of 9 * `inputs` codes of up to 15 with weights of 0 and 1, for one output all 1, then of groups,
    dilated, with strides. Sums are of codes and of numbers, and outputs fill vectors of 16 or 4 or do not.
    """
    b = Builder((4, 5, 4), steps, 3)
    x = b.quantise(b.hd_lif(b.conv(INPUT, inputs, encoding="float32")), inverse_step=200.0)
    x = b.conv(x, 20)
    weight = np.abs(b.nodes[-1].tensors["weight"])
    weight[0] = 1
    b.nodes[-1] = replace(b.nodes[-1], tensors={"weight": weight})
    x = b.quantise(b.hd_lif(b.affine(x, per_step=True, scale=0.01), per_channel=True))
    x = b.affine(b.conv(x, 36, groups=2, dilation=(2, 1), padding=(2, 1), stride=(1, 2)), scale=0.1)
    y = b.conv(b.quantise(b.parallel(x)), 24)
    x = b.add("add", b.affine(y, scale=0.1), b.conv(x, 24, kernel=(1, 1), padding=(0, 0)))
    graph = joined(b.graph(b.add("global_sum_pool", b.quantise(b.hd_lif(x)))))
    return replace(graph, input=replace(graph.input, kind=kind))


def assert_has_the_references_bits(graph: Graph, folder: Path, *, flags: tuple[str, ...] = FLAGS, **options) -> None:
    graph = joined(graph)
    source = translate(graph)
    library = Library(source, folder, flags=flags, **options)
    x = random_input(graph, STEPS, BATCH)
    expected = in_rows(reference.run(graph, x))
    for k in range(BATCH):
        found = library.run(np.ascontiguousarray(x[:, k]), expected.shape[2])
        np.testing.assert_array_equal(found.view(np.uint32), expected[:, k].view(np.uint32))
    if source.answer_bytes:
        shown = of_an_answer(graph, x)
        expected = in_rows(reference.run(graph, shown, graph.time_steps))
        for k in range(BATCH):
            found = library.answer(np.ascontiguousarray(shown[:, k]), graph.time_steps, expected.shape[2])
            np.testing.assert_array_equal(found.view(np.uint32), expected[:, k].view(np.uint32))


def in_rows(outputs: np.ndarray) -> np.ndarray:
    """Outputs [T, B, ...] as C has them, [T, B, n]."""
    return outputs.reshape(*outputs.shape[:2], -1)


def of_an_answer(graph: Graph, frames: np.ndarray) -> np.ndarray:
    """Of frames [T, ...], those that the function of all time steps takes."""
    return frames[: 1 if has_one_frame(graph) else graph.time_steps]


def assert_has_the_bits_of_fixed_point(graph: Graph, folder: Path, *, flags: tuple[str, ...] = FLAGS) -> FixedPoint:
    """Of frames that the formats were chosen for, and of larger ones, which are held at the largest."""
    graph = joined(graph)
    x = random_input(graph, STEPS, BATCH)
    fixed = fixed_point(graph, x, STEPS)
    source = translate(graph, fixed=fixed)
    library = Library(source, folder, flags=flags)
    for frames in (fixed.frame(x), fixed.frame(x * 3)):
        expected = in_rows(fixed.run(frames, STEPS))
        for k in range(BATCH):
            found = library.run(np.ascontiguousarray(frames[:, k], np.int16), expected.shape[2])
            np.testing.assert_array_equal(found, expected[:, k])
        if source.answer_bytes:
            shown = of_an_answer(graph, frames)
            expected = in_rows(fixed.run(shown, graph.time_steps))
            for k in range(BATCH):
                found = library.answer(np.ascontiguousarray(shown[:, k], np.int16), graph.time_steps, expected.shape[2])
                np.testing.assert_array_equal(found, expected[:, k])
    return fixed


def fresh(folder: Path) -> Path:
    """A folder of its own: a library that is loaded already is not loaded again from the same path."""
    found = folder / str(len(list(folder.iterdir())))
    found.mkdir()
    return found
