"""Build a graph from values that a network has learned on a device."""

import numpy as np

from hdlif.deploy.c.learning import learning_of, network_of
from hdlif.errors import StateError
from hdlif.graph.graph import Graph
from hdlif.graph.learning import Level, Place, trained
from hdlif.runtime.learning import Learner, LearningRate, with_learned


def from_device(
    graph: Graph, saved: bytes, level: Level = "classifier", *, momentum: float = 0.0, arithmetic: str = "float"
) -> Graph:
    """Return `graph` with the trained values of a struct `NAME_learned`, given as bytes, and with a record of the
    original graph.

    `hdlif.graph.artefact.save` writes the result as a model file.

    Args:
        graph: the graph of the model file that was exported.
        saved: the bytes of the struct.
        level, momentum, arithmetic: as in the export.
    Raises:
        StateError: the bytes are from another network, level, momentum or arithmetic.
        HdlifError: the network cannot be trained at this level.
    """
    if arithmetic != "fixed":
        memory = learning_of(graph, level, momentum).memory(saved)
        return Learner(graph, level, rate=LearningRate(momentum=momentum), memory=memory).graph
    places = {place.role: place for place in trained(graph, "classifier")}
    nodes = {node.name: node for node in graph.nodes}
    sizes = {role: nodes[place.node].tensors[role].shape for role, place in places.items()}
    shift = [("shift", "<i4", sizes["shift"])] if "shift" in places else []
    members = [("updates", "<u4"), ("network", "<u4"), *shift, ("weight", "<i2", sizes["weight"][::-1])]
    form = np.dtype([*members, ("fractions", "i1", 4)])
    size = -(-form.itemsize // 4) * 4
    if len(saved) != size:
        raise StateError(f"{len(saved):,} bytes were given, but in fixed point the struct has {size:,}; give all bytes")
    found = np.frombuffer(saved, form, 1)[0]
    if found["network"] != network_of(graph):
        raise StateError("the bytes are from another network; give the model file that was exported")
    values = {"weight": found["weight"].T, **({"shift": found["shift"]} if shift else {})}
    real = {
        Place(places[role].node, role): (integers * 2.0 ** -float(fraction)).astype(np.float32)
        for (role, integers), fraction in zip(values.items(), found["fractions"], strict=False)
    }
    return with_learned(graph, real, "classifier", int(found["updates"]))
