"""NIR files that contain a complete deployed graph in the metadata of standard nodes.

The nir package can write nodes of custom types but cannot read them back. Therefore, hdlif writes every node of the
graph as the closest standard node of the same shape. Operations without a counterpart become `Scale` nodes with the
factor 1. Other libraries load an approximate network or reject the file; for example, SpikingJelly and snnTorch reject
`Scale` nodes. `deploy.interop.nir_import` reads only the metadata and restores the exact model file.

    the input node   metadata.hdlif.artefact   the artefact's metadata text
    other nodes      metadata.hdlif.name       the node's name in the artefact
                     metadata.ROLE             a tensor as the artefact stores it
                     metadata.hdlif.weight     "own" if the weight is float32 and in the node's own field
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from hdlif.deploy.nir_export.neurons import hard_lif, plain_name
from hdlif.deploy.nir_export.translation import DT, OF_ONE_PIXEL, geometry_of, infers, neuron_node, nir_package
from hdlif.errors import LoweringError
from hdlif.graph.artefact import dumps, metadata_of, stored
from hdlif.graph.dataflow import reads
from hdlif.graph.graph import INPUT, Graph, Node
from hdlif.graph.inference import infer_values

ARTEFACT, NAME, WEIGHT = "hdlif.artefact", "hdlif.name", "hdlif.weight"
"""Metadata keys of nodes."""


def extended(graph: Graph, *, dt: float = DT) -> Any:
    """Return a `nir.NIRGraph` for any network without upsampling, grouped convolutions or non-square kernels.

    Args:
        dt: seconds per time step.
    Raises:
        LoweringError: NIR has no node with the shapes of one of the graph's nodes.
        MissingExtraError: the package nir is not installed.
    """
    return _Extension(graph, dt).run()


class _Extension:
    def __init__(self, graph: Graph, dt: float) -> None:
        self.nir, self.graph, self.dt = nir_package(), graph, dt
        self.types = infer_values(graph)
        self._nodes: dict[str, Any] = {}
        self._edges: list[tuple[str, str]] = []
        self._names: dict[str, str] = {}

    def run(self) -> Any:
        text = {ARTEFACT: metadata_of(dumps(self.graph))}
        self._names[INPUT] = self.put("input", self.nir.Input(input_type=self.shape(INPUT), metadata=text))
        for node in self.graph.nodes:
            is_same = all(self.types[name].shape == self.types[node.name].shape for name in node.inputs)
            make = _NEAREST.get(node.op, _same if is_same else None)
            if make is None or (node.op == "conv2d" and not infers(node, self.types)):
                raise LoweringError(
                    f"{node.name}: NIR has no node with the shape of this {node.op} to hold its metadata; use --to "
                    "artefact or --to onnx"
                )
            self._names[node.name] = self.put(node.name, make(self, node), self._metadata(node))
        for node in self.graph.nodes:
            # A delay reads the value of a later node.
            sources = reads(node)[len(node.inputs) :] or node.inputs
            for source in dict.fromkeys(sources):
                self._join(source, node)
        out = self.put("output", self.nir.Output(output_type={"output": np.array(self.types[self.graph.output].shape)}))
        self._edges.append((self._names[self.graph.output], out))
        return self.nir.NIRGraph(self._nodes, self._edges)

    def put(self, name: str, node: Any, metadata: Mapping[str, Any] | None = None) -> str:
        found = plain_name(name, self._nodes)
        if metadata:
            node.metadata = dict(metadata)
        self._nodes[found] = node
        return found

    def shape(self, name: str) -> dict[str, Any]:
        return {"input": np.array(self.types[name].shape)}

    def matrix(self, shape: tuple[int, ...], weight: Any) -> Any:
        """Return a layer that applies the matrix `weight` [out, in] to the channels of a value."""
        if len(shape) == 1:
            return self.nir.Linear(weight=weight)
        return self.nir.Conv2d(
            input_shape=shape[1:],
            weight=weight[:, :, None, None],
            bias=np.zeros(len(weight), np.float32),
            **OF_ONE_PIXEL,
        )

    def _metadata(self, node: Node) -> dict[str, Any]:
        has_weight = node.attributes.get("encoding") == "float32"
        roles = [role for role in node.tensors if not (role == "weight" and has_weight)]
        own = {WEIGHT: "own"} if has_weight else {}
        return {NAME: node.name, **own, **{role: stored(node, role) for role in roles}}

    def _join(self, source: str, node: Node) -> None:
        """Connect a value to a node, through a pooling or matrix node if the shapes differ."""
        begin, end = self._names[source], self._names[node.name]
        shape = self.types[source].shape
        if node.op == "global_sum_pool":
            size = np.array(shape[1:])
            pool = self.nir.SumPool2d(kernel_size=size, stride=size, padding=np.zeros(2, np.int64))
            begin = self._between(begin, f"{node.name}.sum", pool)
        elif node.op == "concat":
            places = [place for place, name in enumerate(node.inputs) if name == source]
            first = self.types[node.inputs[0]].shape[0]
            weight = np.zeros((self.types[node.name].shape[0], shape[0]), np.float32)
            for place in places:
                weight[place * first : place * first + shape[0]] += np.eye(shape[0], dtype=np.float32)
            begin = self._between(begin, f"{node.name}.from_{source}", self.matrix(shape, weight))
        self._edges.append((begin, end))

    def _between(self, begin: str, name: str, node: Any) -> str:
        found = self.put(name, node)
        self._edges.append((begin, found))
        return found


def _conv2d(to: _Extension, node: Node) -> Any:
    weight = node.tensors["weight"]
    return to.nir.Conv2d(
        input_shape=to.types[node.inputs[0]].shape[1:],
        weight=weight,
        bias=np.zeros(len(weight), np.float32),
        **geometry_of(node),
    )


def _affine(to: _Extension, node: Node) -> Any:
    shape = to.types[node.name].shape
    scale = node.tensors["scale"][0].reshape(-1, *(1,) * (len(shape) - 1))
    return to.nir.Scale(scale=np.ascontiguousarray(np.broadcast_to(scale, shape)))


def _program(to: _Extension, node: Node) -> Any:
    neuron = hard_lif(node)
    if isinstance(neuron, str):
        return _same(to, node)
    return neuron_node(neuron, to.types[node.name].shape, to.dt)


def _pool(to: _Extension, node: Node) -> Any:
    sizes = {key: np.array(node.attributes.get(key, (0, 0))) for key in ("stride", "padding")}
    return to.nir.SumPool2d(kernel_size=np.array(node.attributes["kernel"]), **sizes)


def _flatten(to: _Extension, node: Node) -> Any:
    shape = to.types[node.inputs[0]].shape
    if node.op == "global_sum_pool":
        shape = (shape[0], 1, 1)
    return to.nir.Flatten(input_type={"input": np.array(shape)}, start_dim=-3, end_dim=-1)


def _slice(to: _Extension, node: Node) -> Any:
    shape = to.types[node.inputs[0]].shape
    chosen = np.eye(shape[0], dtype=np.float32)[node.attributes["begin"] : node.attributes["end"]]
    return to.matrix(shape, chosen)


def _same(to: _Extension, node: Node) -> Any:
    return to.nir.Scale(scale=np.ones(to.types[node.name].shape, np.float32))


_NEAREST: Mapping[str, Callable[[_Extension, Node], Any]] = {
    "affine": _affine,
    "concat": _same,
    "conv2d": _conv2d,
    "delay": lambda to, node: to.nir.Delay(delay=np.full(to.types[node.name].shape, to.dt)),
    "flatten": _flatten,
    "global_sum_pool": _flatten,
    "linear": lambda to, node: to.nir.Linear(weight=node.tensors["weight"]),
    "max_pool": _pool,
    "program": _program,
    "slice": _slice,
    "sum_pool": _pool,
}
"""Functions that make a standard node of the same shape, by op. Other shape-preserving ops become a `Scale` by 1."""
