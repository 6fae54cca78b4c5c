"""All ops by name: each file of this package that states one."""

import importlib
import pkgutil
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from hdlif.graph import ops
from hdlif.graph.ops.graph import Graph, Node
from hdlif.graph.ops.op import Op


def stated(package: str, name: str) -> list[Any]:
    """What the files of a package state under a name, in their order; this file, which asks, states nothing."""
    files = pkgutil.iter_modules(importlib.import_module(package).__path__, f"{package}.")
    modules = [importlib.import_module(file.name) for file in files if file.name != __name__]
    return [getattr(module, name) for module in modules if hasattr(module, name)]


OPS: Mapping[str, Op] = {op.name: op for op in stated(ops.__name__, "OP")}


def reads(node: Node) -> tuple[str, ...]:
    """The values that a node reads, at this step or for the next one."""
    return (*node.inputs, *OPS[node.op].sources(node))


def renamed(node: Node, names: Mapping[str, str]) -> Node:
    """The node, reading what stands for the values that it read."""
    inputs, attributes = tuple(names.get(name, name) for name in node.inputs), node.attributes
    for source in OPS[node.op].sources(node):
        attributes = {**attributes, "source": names.get(source, source)}
    return replace(node, inputs=inputs, attributes=attributes)


def is_recurrent(graph: Graph) -> bool:
    """Whether a node takes what a later one gave at the step before: then steps run one after the other."""
    return any(OPS[node.op].keep is not None for node in graph.nodes)


def state_names(node: Node) -> tuple[str, ...]:
    """What a node carries from step to step, by name."""
    return OPS[node.op].states(node)
