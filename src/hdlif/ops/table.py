"""All ops by name: each file of this package that states one."""

import importlib
import pkgutil
from collections.abc import Mapping

from hdlif import ops
from hdlif.ops.graph import Graph, Node
from hdlif.ops.op import Op


def _found() -> dict[str, Op]:
    names = [module.name for module in pkgutil.iter_modules(ops.__path__) if module.name != "table"]
    modules = [importlib.import_module(f"{ops.__name__}.{name}") for name in names]
    stated = [module.OP for module in modules if hasattr(module, "OP")]
    return {op.name: op for op in sorted(stated, key=lambda op: op.code)}


OPS: Mapping[str, Op] = _found()


def is_recurrent(graph: Graph) -> bool:
    """Whether a node takes what a later one gave at the step before: then steps run one after the other."""
    return any(OPS[node.op].keep is not None for node in graph.nodes)


def state_names(node: Node) -> tuple[str, ...]:
    """What a node carries from step to step, by name."""
    return OPS[node.op].states(node)
