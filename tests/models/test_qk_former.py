"""Q-K attention: its blocks by formula, samples of a batch by themselves, learning by every rule, memory."""

from functools import partial
from typing import Any

import pytest
import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn

from cases import every, sampled
from hdlif.learning import NDOT, OTTT, SLTT, STBP, Rule, StochasticStep, StochasticWindow
from hdlif.learning.paths import remembered
from hdlif.models import Network, Place, QKAttention, qk_former
from hdlif.nn import HDLIF, LIF, QuantConv2d, SpikeQuantizer, Ternary
from hdlif.recipe import builders, load_recipe
from hdlif.report.accounting import update_cost
from learning.rule_runs import learn
from small_networks import gradients, scatter_norms

STEPS = 3
EXACT = {"atol": 1e-10, "rtol": 0.0}


def neuron(place: Place) -> nn.Module:
    return HDLIF(STEPS, leak=0.75, threshold=0.25)


def coded(place: Place) -> nn.Module:
    return HDLIF(STEPS, threshold=0.25, quantizer=SpikeQuantizer())


def network(neuron: Any = neuron, **options: Any) -> Network:
    torch.manual_seed(0)
    options = {"width": 4, "blocks": (1, 1), "heads": 2, "classes": 3, "in_channels": 2, **options}
    return qk_former(neuron=neuron, **options)


def images(batch: int = 4, steps: int = 1) -> Tensor:
    return torch.randn(steps, batch, 2, 8, 8, generator=torch.Generator().manual_seed(1))


def alone(module: nn.Module, x: Tensor) -> Tensor:
    """From the start of a sequence; a layer of no time at each step."""
    if isinstance(module, QuantConv2d):
        return torch.stack([module(step) for step in x])
    return module(x, None, range(STEPS))[0]


@every(heads=[1, 2, 4, None])
def test_attention_is_its_formula(heads: int | None) -> None:
    torch.manual_seed(0)
    channels = dict.fromkeys(QKAttention.NEURONS, 4) | {"a_act": heads or 4}
    places = [Place(name, 0, 0, i, i, of) for i, (name, of) in enumerate(channels.items())]
    block = QKAttention(4, heads=heads, neuron=neuron, conv=QuantConv2d, places=places)
    block = scatter_norms(block.double()).eval()
    # a sum over few spikes, so that some gates are shut
    nn.init.constant_(block.q_bn.bias, -1.5)
    h = torch.randn(STEPS, 2, 4, 3, 5, dtype=torch.float64)
    s = alone(block.act, h)
    q, k = (
        alone(act, alone(bn, alone(conv, s)))
        for conv, bn, act in ((block.q_conv, block.q_bn, block.q_act), (block.k_conv, block.k_bn, block.k_act))
    )
    if heads is None:
        is_open = alone(block.a_act, q.sum((3, 4)))[..., None, None] > 0
    else:
        of_heads = torch.stack([part.sum(2) for part in q.split(4 // heads, 2)], 2)
        is_open = (alone(block.a_act, of_heads) > 0).repeat_interleave(4 // heads, 2)
    assert 0 < is_open.double().mean() < 1
    expected = alone(block.bn, alone(block.conv, k * is_open)) + h
    torch.testing.assert_close(alone(block, h), expected, **EXACT)


def test_default_has_the_stated_size() -> None:
    with torch.device("meta"):
        made = qk_former(neuron=lambda place: HDLIF(4), classes=10)
    assert sum(p.numel() for name, p in made.named_parameters() if not name.endswith("logit")) == 722_122


@every(mode=["one by one", "reversed"], neuron=[neuron, coded])
def test_a_sample_does_not_depend_on_what_else_is_in_the_batch(mode: str, neuron: Any) -> None:
    made = scatter_norms(network(neuron).double()).eval()
    x = images().double()
    logits = made(x, steps=range(STEPS))[0]
    if mode == "reversed":
        other = made(x.flip(1), steps=range(STEPS))[0].flip(1)
    else:
        other = torch.cat([made(x[:, i : i + 1], steps=range(STEPS))[0] for i in range(x.shape[1])], 1)
    assert logits.std() > 0.01
    torch.testing.assert_close(other, logits, **EXACT)


def test_membranes_that_feed_gates_accumulate_and_their_synapses_have_traces() -> None:
    """All but the classifier's, which feeds none, and the last layers', behind which there is no neuron."""
    made = network()
    traced = remembered(made)
    last = {"body.stage2.0.mlp.conv2", "body.stage2.0.attention.conv"}
    layers = {name for name, m in made.named_modules() if isinstance(m, QuantConv2d)}
    assert {"body.stage1.0.attention.q_conv", "body.stage1.0.attention.k_conv"} <= traced.keys()
    # the last attention's output enters the last MLP's neurons
    assert layers - traced.keys() == {"body.stage2.0.mlp.conv2"} <= last


RULES: list[Rule] = [
    STBP(),
    SLTT(),
    SLTT("each"),
    SLTT(chunk=2),
    OTTT(),
    NDOT(),
    StochasticStep(),
    StochasticWindow(2),
]


@sampled(len(RULES), rule=RULES, made_of=["hdlif", "lif", "ternary, 4 bits"])
def test_every_rule_reaches_what_opens_the_gates(rule: Rule, made_of: str) -> None:
    kinds: dict[str, tuple[Any, Any]] = {
        "hdlif": (neuron, None),
        "lif": (lambda place: LIF(STEPS, learned=True, threshold=0.6), None),
        "ternary, 4 bits": (coded, Ternary()),
    }
    factory, quantizer = kinds[made_of]
    made = network(factory, conv=partial(QuantConv2d, quantizer=quantizer), heads=1)
    learn(rule, made, images(16), rule.schedule(STEPS, torch.Generator().manual_seed(0)))
    found = gradients(made)
    for name, gradient in found.items():
        assert gradient.isfinite().all(), name
    for stage in (1, 2):
        for layer in ("q_conv", "k_conv", "conv"):
            assert found[f"body.stage{stage}.0.attention.{layer}.weight"].abs().sum() > 0, (stage, layer)


def test_the_gradient_of_single_steps_is_near_that_through_time() -> None:
    """At initialisation, on digits, by the cosine."""
    x = torch.tensor(load_digits().images[:64, None], dtype=torch.float32)[None]
    x, target = (x - x.mean()) / x.std(), torch.tensor(load_digits().target[:64])
    for seed in range(2):
        found = []
        for rule in (STBP(loss="each"), SLTT()):
            torch.manual_seed(seed)
            made = builders.build_model(load_recipe("digits_qk_former_w1p5_s4")).train()
            learned = learn(rule, made, x, rule.schedule(4, torch.Generator()), target=target)
            found.append(torch.cat([one.flatten() for one in learned.values()]))
        assert torch.cosine_similarity(*found, 0) > 0.95


@every(rule=[SLTT(), StochasticStep()])
def test_online_rules_save_the_bytes_of_one_step_whatever_the_time_steps(rule: Rule) -> None:
    def cost(steps: int) -> int:
        made = network(lambda place: HDLIF(steps), width=8)
        x = images(8, steps)
        plans = [rule.schedule(steps, torch.Generator())]
        if isinstance(rule, StochasticStep):
            plans = [plan for plan, _ in rule.plans(steps)]
        return max(
            update_cost(made, lambda plan=plan: learn(rule, made, x, plan), batch=[x]).saved_bytes for plan in plans
        )

    two, eight = cost(2), cost(8)
    # leaks and thresholds of each step, of 20 neuron layers, in a few copies; and logits
    assert two <= eight <= two + 6 * 20 * 2 * 4 * 8


def test_memory_grows_no_faster_than_the_tokens() -> None:
    def cost(side: int) -> int:
        made, x = network(), torch.rand(1, 2, 2, side, side)
        plan = STBP().schedule(STEPS, torch.Generator())
        return update_cost(made, lambda: learn(STBP(), made, x, plan), batch=[x]).saved_bytes

    few, four_times, sixteen_times = (cost(side) for side in (16, 32, 64))
    # an entry for each pair of tokens would be 16 times as many
    assert (sixteen_times - four_times) / (four_times - few) < 4.1


def test_sizes_that_do_not_fit_are_refused() -> None:
    for options, seen in (
        ({"blocks": ()}, r"blocks = \[\]"),
        ({"blocks": (1, 0)}, r"blocks = \[1, 0\]"),
        ({"mlp_ratio": 0}, "mlp_ratio = 0"),
        ({"heads": 3}, "heads = 3; they must divide the 4 channels"),
        ({"strides": (2,)}, r"strides = \[2\]; give a stride of at least 1 for each of the 2 stages"),
        ({"inner": {"body.stage1.0": 4}}, "give at least 1 channel to some of body.stage1.embed"),
    ):
        with pytest.raises(ValueError, match=seen):
            network(**options)
