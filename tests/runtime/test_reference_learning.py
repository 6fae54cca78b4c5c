"""The oracle of learning in the deployed network: its gradients beside PyTorch's, its updates by hand."""

import itertools
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from cases import every
from deployed_graphs import CLASSES, Builder, every_op, random_input, residual_network
from deployed_networks import images, lowered, trained_like
from hdlif.deploy import GraphModule
from hdlif.errors import HdlifError, ShapeError, StateError
from hdlif.graph.artefact import INPUT, Graph, Node, TaskRecord, dumps, loads
from hdlif.graph.learning import LEVELS, Place, trained
from hdlif.models import resnet
from hdlif.nn import HDLIF, QuantConv2d, SpikeQuantizer, Ternary
from hdlif.runtime import reference
from hdlif.runtime.learning import LearningRate
from hdlif.runtime.reference_learning import ReferenceLearner as Learner

TARGETS = [1, 0]


def exact_network() -> Graph:
    """HD-LIF and Parallel without quantisers, one of each weight, a residual sum, rows per step."""
    b = Builder((3, 6, 5), 3, 0)
    stream = b.affine(b.conv(INPUT, 4, encoding="float32"), per_step=True)
    inner = b.affine(b.conv(b.hd_lif(stream, per_channel=True), 4, encoding="ternary"), scale=0.3)
    outer = b.affine(b.conv(b.parallel(inner), 4, encoding="int4", stride=(1, 1)), scale=0.1)
    stream = b.add("add", outer, stream)
    return b.graph(b.affine(b.add("global_sum_pool", b.hd_lif(stream)), scale=0.2))


def learned(graph: Graph, level: str, x: np.ndarray, steps: int, rate: LearningRate | None = None) -> Learner:
    """After a pass over x, with a target at its last step."""
    learner, state = Learner(graph, level, rate=rate or LearningRate()), None
    for t in range(steps):
        _, state = learner.step(x[t], state, targets=TARGETS if t == steps - 1 else None)
    return learner


def test_the_gradients_of_a_step_are_those_of_pytorch_where_nothing_is_rounded() -> None:
    graph = exact_network()
    x = random_input(graph, 3, 2)
    for steps in (1, 3):
        learner = learned(graph, "all", x, steps)
        module = GraphModule(graph).double()
        own = {name: buffer.requires_grad_() for name, buffer in module.named_buffers() if buffer.is_floating_point()}
        state = None
        for t in range(steps):
            with torch.set_grad_enabled(t == steps - 1):
                logits, state = module(torch.from_numpy(x[t : t + 1]).double(), state, range(t, t + 1))
        F.cross_entropy(logits[0], torch.tensor(TARGETS), reduction="sum").backward()
        assert len(learner.places) == sum(len(node.tensors) for node in graph.nodes)
        for place, total in learner._sums.items():
            expected = own[f"{place.node.replace('.', '~1')}/{place.role}"].grad
            assert expected is not None
            assert steps == 1 or expected.abs().max() > 0, place
            np.testing.assert_allclose(total, expected, atol=2e-4, rtol=2e-3, err_msg=str(place))


def test_the_gradients_of_codes_are_those_of_the_straight_through_training() -> None:
    """Of a network with 1.5-bit weights and 4-bit spikes: what reaches shifts and scales is what reaches its norms."""
    network = resnet(
        neuron=lambda place: HDLIF(4, quantizer=SpikeQuantizer(bits=4)),
        blocks=[1, 1],
        width=4,
        classes=5,
        in_channels=1,
        conv=partial(QuantConv2d, quantizer=Ternary()),
    )
    network = trained_like(network)
    graph, x = lowered(network), images(2, 3)
    state = None
    for t in range(3):
        if state is not None:
            state = torch.utils._pytree.tree_map(lambda v: v.detach() if isinstance(v, torch.Tensor) else v, state)
        logits, state = network(x[t : t + 1], state, range(t, t + 1))
    network.zero_grad()
    F.cross_entropy(logits[0], torch.tensor(TARGETS), reduction="sum").backward()
    learner = learned(graph, "affine", x.numpy(), 3)
    norms = {name: module for name, module in network.named_modules() if hasattr(module, "running_mean")}
    found = [place.node for place in learner.places if place.node in norms and place.role == "shift"]
    assert len(found) >= 4
    for name in found:
        norm, nodes = norms[name], {node.name: node for node in graph.nodes}
        of_shift = learner._sums[Place(name, "shift")].sum(0)
        np.testing.assert_allclose(of_shift, norm.bias.grad, atol=1e-4, rtol=1e-3, err_msg=name)
        gain = norm.weight * norm.running_mean / (norm.running_var + norm.eps).sqrt()
        relative = (learner._sums[Place(name, "scale")] * nodes[name].tensors["scale"]).sum(0)
        expected = norm.weight * norm.weight.grad + gain * norm.bias.grad
        np.testing.assert_allclose(relative, expected.detach(), atol=1e-4, rtol=1e-3, err_msg=name)


def tiny(encoding: str = "float32", weight: object = ((1.0, 0.0), (0.0, 1.0))) -> Graph:
    """Logits = scale · (W x) + shift, of two classes and two inputs, with scale 2 and shift 0."""
    b = Builder((2, 1, 1), 1, 0)
    logits = b.add(
        "linear",
        b.add("flatten", INPUT),
        tensors={"weight": np.array(weight, np.float32 if encoding == "float32" else np.int8)},
        encoding=encoding,
        role="classifier",
    )
    rows = {"scale": np.full((1, 2), 2, np.float32), "shift": np.zeros((1, 2), np.float32)}
    out = b.add("affine", logits, tensors=rows)
    return Graph(tuple(b.nodes), out, 1, b.record(), ("a", "b"))


def tensors(learner: Learner) -> dict[str, np.ndarray]:
    return {f"{n.op}.{role}": t for n in learner.graph.nodes for role, t in n.tensors.items()}


def test_an_update_moves_floats_by_the_mean_gradient_and_scales_by_their_square() -> None:
    """Two equal classes at first: p = ½ each; gradient of the logits (½, -½) for class b."""
    learner = Learner(tiny(weight=np.zeros((2, 2))), rate=LearningRate(0.5, momentum=0.5))
    x = np.array([1, 2], np.float32).reshape(1, 2, 1, 1)
    learner.step(np.repeat(x, 2, 0), targets=[1, 1])
    learner.update()
    found = tensors(learner)
    np.testing.assert_array_equal(found["linear.weight"], [[-0.5, -1], [0.5, 1]])
    np.testing.assert_array_equal(found["affine.shift"], [[-0.25, 0.25]])
    np.testing.assert_array_equal(found["affine.scale"], [[2, 2]])
    # The classes are far apart now, so that the next gradient is about 0, and momentum halves the velocity.
    learner.step(100 * x, targets=[1])
    learner.update()
    np.testing.assert_allclose(tensors(learner)["affine.shift"], [[-0.375, 0.375]], atol=1e-6)
    again = Learner(tiny(), rate=LearningRate(0.125))
    again.step(x, targets=[0])
    p = 1 / (1 + np.exp(-2.0))
    again.update()
    np.testing.assert_allclose(tensors(again)["affine.scale"], [[2 - 0.125 * 4 * -p, 2 - 0.125 * 4 * 2 * p]], rtol=1e-5)


@every(encoding=("ternary", "binary", "int2", "int4", "int8"))
def test_low_bit_weights_move_through_their_latents(encoding: str) -> None:
    """One latent step of 0.3 codes keeps every code, a second one changes it, and none leaves its range."""
    start = np.array([[1, -1], [1, -1]], np.int8)
    learner = Learner(tiny(encoding, start), rate=LearningRate(0, latents=0.3))
    x = np.ones((1, 2, 1, 1), np.float32)
    codes = []
    for _ in range(12):
        learner.step(x, targets=[0])
        learner.update()
        codes.append(tensors(learner)["linear.weight"].copy())
    np.testing.assert_array_equal(codes[0], start)
    loads(dumps(learner.graph), "x")
    if encoding in ("int4", "int8"):
        assert codes[1].tolist() == [[2, 0], [0, -2]]
        assert codes[-1].max() > 3
    elif encoding == "binary":
        assert codes[3].tolist() == [[1, 1], [-1, -1]]
    else:
        assert codes[1].tolist() == [[1, 0], [0, -1]]
        assert codes[-1].tolist() == [[1, 1], [-1, -1]]
    # at the end of their range latents stop, and come back at once
    for _ in range(4):
        learner.step(x, targets=[1])
        learner.update()
    if encoding in ("ternary", "int2"):
        assert tensors(learner)["linear.weight"].tolist() == [[0, 0], [0, 0]]


def test_each_level_trains_what_the_one_before_does() -> None:
    graph = residual_network()
    sets = [set(trained(graph, level)) for level in LEVELS]
    assert all(one < next_one for one, next_one in itertools.pairwise(sets))
    weights = [sum(place.role == "weight" for place in found) for found in sets]
    assert weights == [1, 1, 4, 7]
    untouched = [node for node in graph.nodes if node.op == "quantise"]
    assert untouched
    assert not any(place.node == node.name for place in sets[-1] for node in untouched)


@every(level=LEVELS)
def test_it_learns_two_samples_and_leaves_everything_else_alone(level: str) -> None:
    graph = residual_network()
    before = dumps(graph)
    x = random_input(graph, 4, 2)
    rate = LearningRate(0.1 if level == "classifier" else 0.02, latents=0.02)
    learner, losses = Learner(graph, level, rate=rate), []
    for _ in range(20):
        state, loss = None, 0.0
        for frame in x:
            logits, state = learner.step(frame, state, targets=TARGETS)
            loss += float(F.cross_entropy(torch.from_numpy(logits), torch.tensor(TARGETS)))
        learner.update()
        losses.append(loss)
    assert losses[-1] < 0.6 * losses[0]
    assert dumps(graph) == before
    own = {place.node for place in learner.places}
    for node, now in zip(graph.nodes, learner.graph.nodes, strict=True):
        same = all(np.array_equal(node.tensors[role], now.tensors[role]) for role in node.tensors)
        assert same or node.name in own
    logits = reference.run(loads(dumps(learner.graph), "x"), x)
    assert (logits.mean(0).argmax(1) == TARGETS).all()


def test_it_goes_on_from_its_memory_to_the_same_bits() -> None:
    graph, rate = residual_network(), LearningRate(0.01, 0.05, 0.9)
    x = random_input(graph, 4, 2)

    def advance(learner: Learner, count: int) -> Learner:
        for _ in range(count):
            state = None
            for frame in x:
                _, state = learner.step(frame, state, targets=TARGETS)
            learner.update()
        return learner

    whole = advance(Learner(graph, "all", rate=rate), 5)
    half = advance(Learner(graph, "all", rate=rate), 2)
    resumed = advance(Learner(graph, "all", rate=rate, memory=half.memory), 3)
    assert resumed.updates == whole.updates == 5
    assert dumps(resumed.graph) == dumps(whole.graph) != dumps(graph)
    assert all(np.array_equal(resumed.memory[key], value) for key, value in whole.memory.items())
    with pytest.raises(StateError, match="belongs to another"):
        Learner(graph, "affine", rate=rate, memory=half.memory)


def test_a_step_without_a_target_is_that_of_the_oracle_and_teaches_nothing() -> None:
    graph = residual_network()
    x = random_input(graph, 2, 2)
    learner = Learner(graph, "all")
    logits, state = learner.step(x[0])
    expected, right = reference.step(graph, x[0])
    np.testing.assert_array_equal(logits, expected)
    assert all(np.array_equal(state[name], right[name]) for name in right)
    with pytest.raises(HdlifError, match="no step had a target"):
        learner.update()
    taught, after = learner.step(x[1], state, targets=TARGETS)
    expected, right = reference.step(graph, x[1], right)
    np.testing.assert_array_equal(taught, expected)
    assert all(np.array_equal(after[name], right[name]) for name in right)


def test_weights_stay_as_they_were_where_an_update_is_not_finite() -> None:
    graph = tiny()
    learner = Learner(graph, rate=LearningRate(1e6))
    before = {key: value.copy() for key, value in tensors(learner).items()}
    with np.errstate(over="ignore", invalid="ignore"):
        learner.step(np.full((1, 2, 1, 1), 3e38, np.float32), targets=[1])
    with pytest.raises(HdlifError, match="the weights stay as they were"):
        learner.update()
    assert learner.updates == 0
    assert all(np.array_equal(before[key], value) for key, value in tensors(learner).items())
    learner.step(np.ones((1, 2, 1, 1), np.float32), targets=[1])
    learner.update()


def test_what_cannot_be_learned_is_refused_by_name() -> None:
    b = Builder((3, 6, 5), 2, 0)
    lif = b.graph(b.lif(b.affine(b.conv(INPUT, 4, encoding="float32"))))
    b = Builder((3, 6, 5), 2, 0)
    attention = b.graph(b.seca(b.affine(b.conv(INPUT, 4, encoding="float32"))))
    for graph, level, words in (
        (lif, "affine", "lif.*derivative is 0.*classifier"),
        (attention, "all", "a channel attention, SECA has no backward pass.*classifier"),
        (replace(tiny(), task=TaskRecord("multilabel")), "classifier", "learns classes.*multilabel"),
        (tiny(), "clasifier", "is unknown.*classifier"),
        (Graph((Node("flatten", "f", (INPUT,)),), "f", 1, tiny().input, ("a", "b")), "all", "nothing to train"),
    ):
        with pytest.raises(HdlifError, match=words):
            Learner(graph, level)
    assert [place.role for place in Learner(lif).places] == ["weight"]
    assert Learner(attention).places
    learner = Learner(tiny())
    for targets, words in (
        ([2], "classes 0 to 1"),
        ([-1], "classes 0 to 1"),
        ([0, 1], "for each of 1"),
        ([0.5], "integer"),
    ):
        with pytest.raises(HdlifError, match=words):
            learner.step(np.zeros((1, 2, 1, 1), np.float32), targets=targets)
    with pytest.raises(ShapeError, match=r"\[T, B, 2, 1, 1\]"):
        learner.learn(np.zeros((1, 2, 1, 1), np.float32), [0])
    for arguments in ({"floats": -1}, {"latents": 2}, {"momentum": 1.0}):
        with pytest.raises(HdlifError, match=f"{next(iter(arguments))} = "):
            LearningRate(**arguments)


def test_a_network_of_every_op_has_its_classifier_trained() -> None:
    graph = every_op()
    assert len(graph.labels) == CLASSES
    learned(graph, "classifier", random_input(graph, 2, 2), 2).update()
