"""Penalties on activity: their values by hand, what they see, and that they silence neurons in a training."""

import pytest
import torch
from torch import Tensor, nn

from hdlif.errors import TrainingError
from hdlif.learning import NDOT, OTTT, SLTT, STBP, Rule, StochasticStep
from hdlif.nn import HDLIF, Carrying, QuantConv2d, Scope, State, Temporal, Ternary, carrying
from hdlif.report.accounting import profile
from hdlif.training import Accelerator, Updater, sgd
from hdlif.training.activity import Budget, Density, Penalty, Seen, Surplus, Watch, count
from small_networks import tiny_resnet

T = 4
TARGET = torch.tensor([0, 1, 2, 0])


def frames() -> Tensor:
    return torch.randn(1, len(TARGET), 2, 6, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def test_count_is_differentiated_as_a_triangle_above_silence() -> None:
    spikes = torch.tensor([0.0, 0.25, 0.75, 3.0], requires_grad=True)
    counted = count(spikes)
    counted.sum().backward()
    assert counted.tolist() == [0.0, 1.0, 1.0, 1.0]
    assert spikes.grad is not None
    assert spikes.grad.tolist() == [0.0, 0.75, 0.25, 0.0]


def on(penalty: Penalty, **layers: list[list[float]]) -> float:
    """The penalty on the spikes of one image, by layer and pass."""
    passes = {name: [torch.tensor([spikes]) for spikes in seen] for name, seen in layers.items()}
    seen: Seen = {name: [penalty.measure(nn.Identity(), s, s) for s in spikes] for name, spikes in passes.items()}
    return penalty(seen).item()


def test_penalties_by_hand() -> None:
    # Densities ½ and ¼; means ¾ and ½.
    layers = {"a": [[0.0, 1.5]], "b": [[0.0, 0.0, 0.0, 2.0]]}
    assert on(Surplus(0.1), **layers) == pytest.approx(0.125)
    assert on(Density(0.3), **layers) == pytest.approx(0.2)
    assert on(Density(0.0, weight=2.0), **layers) == pytest.approx(1.5)
    # The network's density is 2 of 6 neurons.
    assert on(Density(0.25, per_layer=False), **layers) == pytest.approx(1 / 3 - 0.25)
    # Steps seen count alike.
    assert on(Density(0.0), a=[[1.0, 1.0], [0.0, 0.0]]) == on(Surplus(1.0), a=[[1.0, 1.0], [0.0, 0.0]]) == 0.5


def test_a_penalty_sees_synapses_with_a_trace_as_those_without() -> None:
    def penalties(rule: Rule, penalty: Penalty) -> list[float]:
        network = tiny_resnet(lambda place: HDLIF(T), quantizer=Ternary())
        watch = Watch(network, penalty)
        network, plan = Carrying(network, measures=watch.measures), rule.schedule(T, torch.Generator())
        return [watch.penalty().item() for _ in rule(network, frames(), TARGET, plan)]

    for penalty in (Budget(1.0, T), Surplus(1.0)):
        expected = penalties(SLTT(), penalty)
        for rule in (OTTT(), NDOT()):
            assert penalties(rule, penalty) == pytest.approx(expected), (rule, penalty)


def test_penalty_of_a_share_has_the_value_of_the_batch_and_the_gradient_of_the_share() -> None:
    # The share's density is ½, above the target, that of the whole batch ¼, below it.
    spikes = torch.tensor([[0.0, 0.5]], requires_grad=True)

    def on_share(penalty: Penalty) -> Tensor:
        watch = Watch(nn.Identity(), penalty, mean=lambda own: torch.tensor([0.25, 2.0]))
        watch.add("a", penalty.measure(nn.Identity(), spikes, spikes))
        return watch.penalty()

    assert on_share(Density(0.3)).item() == 0
    above = on_share(Density(0.1))
    assert above.item() == pytest.approx(0.15)
    above.backward()
    assert spikes.grad is not None
    assert spikes.grad.tolist() == [[0.0, 0.25]]


def test_measures_of_all_layers_and_passes_are_averaged_over_ranks_together() -> None:
    asked: list[list[float]] = []

    def mean(own: Tensor) -> Tensor:
        asked.append(own.tolist())
        return own + 1

    watch = Watch(nn.Identity(), Surplus(1.0), mean=mean)
    for name, spike in (("a", 1.0), ("b", 2.0), ("a", 3.0)):
        watch.add(name, torch.tensor(spike))
    # Mean spikes of 2 and 2 here, one more over ranks.
    assert watch.penalty().item() == 6.0
    assert asked == [[1.0, 3.0, 2.0]]
    assert watch.penalty().item() == 0.0


def test_measures_of_large_float16_batches_are_those_of_float32() -> None:
    # More spikes than float16 has numbers for.
    layer, x = QuantConv2d(1, 1, 1), torch.rand(300, 1, 20, 20).half()
    for penalty in (Surplus(1.0), Density(0.1), Density(0.1, per_layer=False), Budget(1.0, T)):
        half, full = (penalty({"a": [penalty.measure(layer, of, of)]}) for of in (x, x.float()))
        assert half.isfinite(), penalty
        torch.testing.assert_close(half, full)


def value_on(network: nn.Module, penalty: Penalty, x: Tensor) -> Tensor:
    watch = Watch(network, penalty)
    network(x, steps=carrying(range(T), measures=watch.measures))
    return watch.penalty()


def test_budget_is_the_sops_of_the_network_over_it() -> None:
    network, x = tiny_resnet(lambda place: HDLIF(T), quantizer=Ternary()).eval().float(), frames().float()
    found = value_on(network, Budget(1.0, T), x).item() + 1
    # The estimate takes every spike's fan-out as the average one: padding and strides make the difference.
    assert found == pytest.approx(profile(network, x, time_steps=T).sops, rel=0.3)


def test_budgets_of_layers_press_those_layers_alone() -> None:
    network = tiny_resnet(lambda place: HDLIF(T))
    layers = [name for name, module in network.named_modules() if isinstance(module, Budget.watches)]
    sops = {name: value_on(network, Budget({name: 1.0}, T), frames()).item() + 1 for name in layers}
    assert value_on(network, Budget(1.0, T), frames()).item() + 1 == pytest.approx(sum(sops.values()))
    over, within = "body.stage2.0.conv1", "body.stage2.0.conv2"
    penalty = value_on(network, Budget({over: sops[over] / 3, within: 2 * sops[within]}, T, weight=0.5), frames())
    assert penalty.item() == pytest.approx(0.5 * (3 - 1))
    penalty.backward()
    # Nothing after the layer that is over its budget.
    assert not network.get_parameter(f"{over}.weight").grad.any()
    assert network.get_parameter("body.stage1.0.conv1.weight").grad.abs().sum() > 0


def test_only_steps_with_a_graph_are_seen_and_each_once() -> None:
    network = tiny_resnet(lambda place: HDLIF(T))
    watch = Watch(network, Surplus(1.0))
    with torch.no_grad():
        _, state = network(frames(), steps=carrying(range(2), measures=watch.measures))
    assert watch.seen == {}
    network(frames(), state, steps=carrying(range(2, 3), measures=watch.measures))
    assert {name: len(passes) for name, passes in watch.seen.items()} == dict.fromkeys(
        ("body.stage1.0.act1", "body.stage1.0.act2", "body.stage2.0.act1", "body.stage2.0.act2"), 1
    )
    assert watch.penalty() > 0
    with pytest.raises(TrainingError, match=r"cannot measure body\.stage1\.0\.act1, .*; run it in"):
        watch.penalty()
    network(frames(), steps=range(1))
    assert watch.seen == {}


class Called(Temporal):
    """Calls a synapse, or a neuron, without its Scope."""

    def __init__(self, *, scope: bool) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.act, self.scope = QuantConv2d(2, 3, 1), HDLIF(T), scope

    def forward(self, x: Tensor, state: State | None, steps: range) -> tuple[Tensor, State | None]:
        run = Scope(self, state, steps)
        if self.scope:
            return run("act", run("conv", x)), run.state
        return self.act(self.conv(x[0])[None], state, steps)


def test_a_neuron_that_is_called_directly_is_measured_and_a_synapse_is_refused_by_its_name() -> None:
    x = frames().float()
    scoped, direct = (value_on(Called(scope=scope), Surplus(1.0), x) for scope in (True, False))
    assert scoped == direct > 0
    with pytest.raises(TrainingError, match="the activity penalty cannot measure conv; run it"):
        value_on(Called(scope=False), Budget(1.0, T), x)


def test_penalty_lowers_the_density_of_a_training() -> None:
    def trained(rule: Rule, penalty: Penalty | None) -> float:
        network = tiny_resnet(lambda place: HDLIF(T))
        optimizer = sgd(network, learning_rate=0.05, momentum=0.0, weight_decay=0.0)
        update = Updater(Accelerator("cpu", "64-true"), network, optimizer, rule, penalty=penalty)
        for _ in range(8):
            update(frames(), TARGET, rule.schedule(T, torch.Generator().manual_seed(0)))
        return value_on(network, Density(0.0, per_layer=False), frames()).item()

    layers = dict.fromkeys(("body.stage1.0.conv2", "body.stage2.0.conv2"), 10.0)
    # What a penalty measures, and when a rule asks for it, do not depend on each other.
    for rule, penalty in (
        (STBP(), Surplus(3.0)),
        (SLTT(), Density(0.02, weight=20.0)),
        (SLTT("each"), Budget(100.0, T, weight=5.0)),
        (StochasticStep(2), Budget(layers, T, weight=5.0)),
    ):
        assert trained(rule, penalty) < 0.85 * trained(rule, None), (rule, penalty)


def test_targets_and_budgets_without_meaning_are_refused() -> None:
    with pytest.raises(ValueError, match=r"target = 1.5; a spike density must lie in 0\.\.1"):
        Density(1.5)
    with pytest.raises(ValueError, match="sops = 0; a budget must be above 0"):
        Budget(0, T)
