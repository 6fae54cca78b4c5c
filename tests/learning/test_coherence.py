"""Each rule's gradient beside STBP's, against plain loops and Theorem 4.2."""

import copy
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cases import every
from hdlif.errors import DataError
from hdlif.functional import hd_lif_step, lif_step
from hdlif.learning import SLTT, STBP, StochasticStep, coherence, loss_of_each, loss_of_mean
from hdlif.learning.coherence import Layer, RuleCoherence
from hdlif.learning.overlap import Overlap, Shares
from hdlif.learning.probe import layer_local, neurons_of, observe, total
from hdlif.models import ReversibleSequential, reversible_resnet
from hdlif.nn import HDLIF, LIF, ParallelHDLIF, Sequential, SpikeQuantizer, Ternary
from learning.rule_runs import drawn
from small_networks import alternate, scatter_norms, tiny_resnet

STEPS, BATCH, INPUTS, HIDDEN, CLASSES = 4, 8, 5, 12, 3
TARGET = torch.arange(BATCH) % CLASSES


def plain(kind: type[HDLIF | LIF] = HDLIF, **arguments: Any) -> Sequential:
    """Linear, neuron, linear, neuron, linear, in float64."""
    torch.manual_seed(0)
    layers: dict[str, nn.Module] = {
        "fc1": nn.Linear(INPUTS, HIDDEN, bias=False),
        "act1": kind(STEPS, **arguments),
        "fc2": nn.Linear(HIDDEN, HIDDEN, bias=False),
        "act2": kind(STEPS, **arguments),
        "fc3": nn.Linear(HIDDEN, CLASSES, bias=False),
    }
    net = Sequential(layers).double()
    for name in ("fc1", "fc2", "fc3"):
        nn.init.normal_(layers[name].weight, std=2.0 / layers[name].in_features ** 0.5)
    return net


def frames(seed: int = 0) -> Tensor:
    return drawn(STEPS, BATCH, INPUTS, seed=seed) + 0.3


def images() -> Tensor:
    return drawn(STEPS, BATCH, 2, 6, 6)


def loop(net: Sequential, x: Tensor, *, cut: bool) -> Tensor:
    """The logits [T, B, classes] of the network by its equations, potentials detached between steps where cut."""
    step = hd_lif_step if isinstance(net.act1, HDLIF) else lif_step
    potentials = [torch.zeros(BATCH, HIDDEN, dtype=torch.float64) for _ in range(2)]
    logits = []
    for t in range(len(x)):
        h = x[t]
        for i, (fc, act) in enumerate(((net.fc1, net.act1), (net.fc2, net.act2))):
            before = potentials[i].detach() if cut else potentials[i]
            h, potentials[i] = step(h @ fc.weight.T, before, act.leak.values()[t], act.threshold.values()[t])
        logits.append(h @ net.fc3.weight.T)
    return torch.stack(logits)


def gradient(net: Sequential, loss: Tensor) -> dict[str, Tensor]:
    weights = {name: net.get_submodule(name).weight for name in ("fc1", "fc2", "fc3")}
    return dict(zip(weights, torch.autograd.grad(loss, list(weights.values()), retain_graph=True), strict=True))


def cosine(a: Tensor, b: Tensor) -> float:
    return float((a * b).sum() / (a.norm() * b.norm()))


MEAN, EACH = loss_of_mean(F.cross_entropy), loss_of_each(F.cross_entropy)
RULES = {"stbp": STBP, "sltt": SLTT, "stochastic_step": StochasticStep}
KINDS = [HDLIF, LIF]


def compare(net: nn.Module, x: Tensor | None = None, **changed: object) -> dict[str, RuleCoherence]:
    arguments = {"rules": RULES, "loss": MEAN, "time_steps": STEPS} | changed
    return coherence(net, [(frames() if x is None else x, TARGET)], **arguments)  # type: ignore[arg-type]


def rows(layers: tuple[Layer, ...], kind: str) -> dict[str, Layer]:
    return {layer.name: layer for layer in layers if layer.kind == kind}


# The local view: Theorem 4.2


def membrane_gradients(net: nn.Module, x: Tensor, rule: Any) -> tuple[Any, dict[str, Tensor]]:
    """What the network does, and dL/dm of each layer of neurons under a rule, given STBP's own G."""
    observed = observe(net, x, TARGET, MEAN, time_steps=STEPS)
    plan = rule.schedule(STEPS, torch.Generator())
    return observed, layer_local(net, x, TARGET, rule, plan, observed.along_spikes).membranes


def firing_bits(net: Sequential, observed: Any, name: str) -> Tensor:
    """χ_t = 1 where m_t > θ, by m_t = λ v_{t-1} + I_t and v_t = min(m_t, θ)."""
    synapse, neuron = name.replace("act", "fc"), net.get_submodule(name)
    currents = torch.as_tensor(observed.inputs[synapse]) @ net.get_submodule(synapse).weight.detach().T
    v, bits = torch.zeros_like(currents[0]), []
    for current, leak, threshold in zip(currents, neuron.leak.values(), neuron.threshold.values(), strict=True):
        m = leak.detach() * v + current
        v = torch.minimum(m, threshold.detach())
        bits.append((m > threshold).double())
    return torch.stack(bits)


@every(kind=KINDS)
def test_a_layer_given_g_has_the_membrane_gradient_of_the_whole_network(kind) -> None:
    net, x = plain(kind), frames()
    _, found = membrane_gradients(net, x, STBP(criterion=total))
    currents = {}
    for name, neuron in neurons_of(net).items():
        neuron.register_forward_pre_hook(lambda module, args, name=name: currents.__setitem__(name, args[0]))
    value = MEAN(net(x)[0], TARGET)
    for name, expected in zip(currents, torch.autograd.grad(value, list(currents.values())), strict=True):
        torch.testing.assert_close(found[name], expected, atol=1e-10, rtol=0)
        assert expected.abs().max() > 1e-3


@every(quantizer=[None, SpikeQuantizer()])
def test_hd_lif_gradients_and_figures_follow_from_the_firing_bits_and_g(quantizer: SpikeQuantizer | None) -> None:
    """Theorem 4.2: d_t(online) = χ_t/(χ_t + Σ_{i>t} ε[i, t]) · d_t(STBP), a ratio of 0 or 1.

    ε[i, t] = χ_i Π_{j=t+1..i} λ_j (1 - χ_{j-1}): the next firing step alone reaches back to a step.
    """
    net, x = plain(quantizer=quantizer), frames()
    layers = rows(compare(net, x)["sltt"].local.layers, "neuron")
    observed, of_stbp = membrane_gradients(net, x, STBP(criterion=total))
    of_sltt = membrane_gradients(net, x, SLTT(criterion=total))[1]
    for name, layer in layers.items():
        G, fired = observed.along_spikes[name], firing_bits(net, observed, name)
        leak = net.get_submodule(name).leak.values().detach()
        stbp, later = torch.zeros_like(G), torch.zeros_like(G[0])
        for t in reversed(range(STEPS)):
            leaked = leak[t + 1] * later if t + 1 < STEPS else later
            later = stbp[t] = fired[t] * G[t] + (1 - fired[t]) * leaked
        # Of firing neurons online has the same gradient, of silent ones none, where STBP has one for some.
        online = fired * G
        torch.testing.assert_close(of_stbp[name], stbp, atol=1e-10, rtol=0)
        torch.testing.assert_close(of_sltt[name], online, atol=1e-10, rtol=0)
        assert stbp[fired == 0].any()
        assert layer.cosine == pytest.approx(cosine(online, stbp), abs=1e-10)
        assert layer.norm_ratio == pytest.approx(float(online.norm() / stbp.norm()), abs=1e-10)
        assert layer.dropped == pytest.approx(float(((fired == 0) & (stbp != 0)).double().mean()), abs=1e-12)
        assert layer.idle == pytest.approx(float((stbp == 0).double().mean()), abs=1e-12)
        # Never wrong: entries are equal or dropped.
        assert layer.wrong == layer.opposite == 0
        assert layer.equal + layer.dropped == pytest.approx(1)
        # A surplus may be rounded to none.
        spikes = (observed.spikes[name] > 0).double()
        assert layer.firing_rate == pytest.approx(float(spikes.mean()), abs=1e-12)
        for t, step in enumerate(layer.per_step):
            assert step.cosine == pytest.approx(cosine(online[t], stbp[t]), abs=1e-10)
            assert step.firing_rate == pytest.approx(float(spikes[t].mean()), abs=1e-12)


def test_local_weight_gradient_is_that_of_the_membrane_gradient() -> None:
    net, x = plain(LIF), frames()
    observed = observe(net, x, TARGET, MEAN, time_steps=STEPS)
    synapses = rows(compare(net)["sltt"].local.layers, "synapse")
    for fc, act in (("fc1", "act1"), ("fc2", "act2")):
        weight, found = net.get_submodule(fc).weight, {}
        for cut in (True, False):
            potential, total = torch.zeros_like(observed.spikes[act][0]), 0
            for t in range(STEPS):
                current = observed.inputs[fc][t] @ weight.T
                before = {"potential": potential.detach() if cut else potential}
                spikes, after = net.get_submodule(act)(current[None], before, range(t, t + 1))
                potential = after["potential"]
                total = total + (spikes[0] * observed.along_spikes[act][t]).sum()
            (found[cut],) = torch.autograd.grad(total, weight)
        assert synapses[fc].cosine == pytest.approx(cosine(found[True], found[False]), abs=1e-10)
        assert synapses[fc].norm_ratio == pytest.approx(float(found[True].norm() / found[False].norm()), abs=1e-10)
    assert synapses["fc3"].cosine is None


def test_lif_entries_are_wrong_some_even_in_sign_and_those_of_a_parallel_neuron_are_equal() -> None:
    for layer in rows(compare(plain(LIF, threshold=0.6))["sltt"].local.layers, "neuron").values():
        assert layer.wrong > 0.1
        assert layer.equal + layer.dropped + layer.wrong == pytest.approx(1)
        assert layer.wrong > layer.opposite
    assert any(layer.opposite > 0 for layer in rows(compare(plain(LIF))["sltt"].local.layers, "neuron").values())
    for rule in compare(plain(ParallelHDLIF)).values():
        for layer in rows(rule.local.layers, "neuron").values():
            assert layer.equal == 1
            assert layer.cosine == pytest.approx(1)
        assert rule.end_to_end.cosine == pytest.approx(1)


def test_entries_are_equal_dropped_or_wrong() -> None:
    shares = Shares()
    #                          equal  idle  dropped  rescaled  other sign  made of nothing
    own = torch.tensor([1.0, 0.0, 0.0, 0.5, -1.0, 1.0], dtype=torch.float64)
    reference = torch.tensor([1.0, 0.0, 0.3, 1.0, 1.0, 0.0], dtype=torch.float64)
    shares.add(own, reference, torch.ones(6, dtype=torch.float64))
    assert (shares.equal, shares.idle, shares.dropped, shares.wrong, shares.opposite) == (2, 1, 1, 3, 1)
    assert shares.entries == 6


def test_a_zero_gradient_has_no_direction() -> None:
    for own, reference, ratio in ((torch.zeros(2), torch.ones(2), 0.0), (torch.ones(2), torch.zeros(2), None)):
        overlap = Overlap()
        overlap.add(own, reference)
        assert (overlap.cosine, overlap.norm_ratio) == (None, ratio)


# End to end


def assert_compared(found: Any, own: dict[str, Tensor], reference: dict[str, Tensor]) -> None:
    """Whether cosine and ratio are those of two gradients laid end to end."""
    a, b = (torch.cat([g.flatten() for g in gradients.values()]) for gradients in (own, reference))
    assert found.cosine == pytest.approx(cosine(a, b), abs=1e-10)
    assert found.norm_ratio == pytest.approx(float(a.norm() / b.norm()), abs=1e-10)


@every("loss", "rule_loss", of=[(MEAN, None), (EACH, None), (MEAN, EACH)], kind=KINDS)
def test_end_to_end_is_the_gradient_with_and_without_detached_potentials(kind, loss, rule_loss) -> None:
    """Losses that differ are compared as two trainings."""
    net, x = plain(kind), frames()
    found = compare(net, loss=loss, **({} if rule_loss is None else {"rule_loss": rule_loss}))["sltt"]
    own = gradient(net, (rule_loss or loss)(loop(net, x, cut=True), TARGET))
    reference = gradient(net, loss(loop(net, x, cut=False), TARGET))
    for name, layer in rows(found.end_to_end.layers, "synapse").items():
        assert_compared(layer, {name: own[name]}, {name: reference[name]})
    assert_compared(found.end_to_end, own, reference)
    assert found.end_to_end.cosine < 0.9999


@every(kind=KINDS)
def test_steps_and_draws_end_to_end_are_the_loss_at_those_steps_alone(kind) -> None:
    net, x = plain(kind), frames()
    compared = compare(net, loss=EACH)
    layers = rows(compared["sltt"].end_to_end.layers, "synapse")
    drawn = compared["stochastic_step"].end_to_end
    cut, whole = loop(net, x, cut=True), loop(net, x, cut=False)
    # A step beside that step of the other rule, a draw beside the gradient of all of them.
    reference = gradient(net, EACH(whole, TARGET))
    assert [plan.steps for plan in drawn.plans] == [(t,) for t in range(STEPS)]
    for t, plan in enumerate(drawn.plans):
        own, other = (gradient(net, F.cross_entropy(logits[t], TARGET)) for logits in (cut, whole))
        for name, layer in layers.items():
            assert layer.per_step[t].cosine == pytest.approx(cosine(own[name], other[name]), abs=1e-10)
        assert_compared(plan, own, reference)
        assert plan.cosine < drawn.cosine


def test_a_synapse_has_the_rate_of_what_it_reads_by_step() -> None:
    net, x = plain(), frames()
    x[1] = 0
    layers = rows(compare(net, x)["sltt"].end_to_end.layers, "synapse")
    assert [step.firing_rate for step in layers["fc1"].per_step] == [1, 0, 1, 1]
    assert layers["fc1"].firing_rate == 0.75
    spikes = observe(net, x, TARGET, MEAN, time_steps=STEPS).spikes["act1"]
    for t, step in enumerate(layers["fc2"].per_step):
        assert step.firing_rate == pytest.approx(float((spikes[t] > 0).double().mean()))


def test_batches_count_by_the_size_of_their_gradients() -> None:
    net = plain(LIF)
    one, two = (frames(seed=seed) for seed in (0, 1))
    found = coherence(net, [(one, TARGET), (two, TARGET)], rules=RULES, loss=MEAN, time_steps=STEPS)["sltt"]
    own, reference = (
        [gradient(net, MEAN(loop(net, x, cut=cut), TARGET))["fc1"] for x in (one, two)] for cut in (True, False)
    )
    expected = cosine(torch.stack(own), torch.stack(reference))
    assert rows(found.end_to_end.layers, "synapse")["fc1"].cosine == pytest.approx(expected, abs=1e-10)


class Failing(SLTT):
    def __call__(self, *arguments: object):  # type: ignore[no-untyped-def, override]
        yield next(super().__call__(*arguments))  # type: ignore[arg-type]
        raise RuntimeError("no more")


def test_the_model_is_left_as_it_was_by_a_rule_that_fails_too() -> None:
    net = tiny_resnet(lambda place: HDLIF(STEPS), quantizer=Ternary()).train()
    net.body.eval()
    net.stem.requires_grad_(False)
    for i, parameter in enumerate(net.parameters()):
        parameter.grad = torch.full_like(parameter, float(i)) if i % 2 else None
    gradients = [None if parameter.grad is None else parameter.grad.clone() for parameter in net.parameters()]
    before = copy.deepcopy(net)
    assert "stem.conv" not in rows(compare(net, images())["sltt"].end_to_end.layers, "synapse")
    with pytest.raises(RuntimeError, match="no more"):
        compare(net, images(), rules={"failing": Failing})
    for (name, value), expected in zip(net.state_dict().items(), before.state_dict().values(), strict=True):
        assert torch.equal(value, expected), name
    for module, expected in zip(net.modules(), before.modules(), strict=True):
        assert module.training == expected.training
        assert not module._forward_hooks
        assert not module._forward_pre_hooks
    for parameter, grad in zip(net.parameters(), gradients, strict=True):
        assert parameter.grad is None if grad is None else torch.equal(parameter.grad, grad)
    assert [p.requires_grad for p in net.parameters()] == [p.requires_grad for p in before.parameters()]


def test_no_batch_and_a_network_without_neurons_are_refused() -> None:
    with pytest.raises(DataError, match="there is no batch"):
        coherence(plain(), [], rules=RULES, loss=MEAN, time_steps=STEPS)
    with pytest.raises(ValueError, match="Sequential has no neuron layer"):
        compare(Sequential(nn.Linear(5, 3)))


def test_a_reversible_network_is_compared_like_one_that_keeps_its_graph(monkeypatch: pytest.MonkeyPatch) -> None:
    found = []
    for forward in (ReversibleSequential.forward, Sequential.forward):
        monkeypatch.setattr(ReversibleSequential, "forward", forward)
        torch.manual_seed(0)
        neuron = alternate(lambda place: HDLIF(STEPS), lambda place: LIF(STEPS))
        network = reversible_resnet(neuron=neuron, blocks=(2,), width=4, classes=3, in_channels=2).double()
        result = compare(scatter_norms(network), images())["sltt"]
        assert len(rows(result.local.layers, "neuron")) == 4
        assert result.as_dict()["end_to_end"]["cosine"] == result.end_to_end.cosine
        found.append([(layer.cosine, layer.norm_ratio) for layer in (*result.local.layers, *result.end_to_end.layers)])
        assert all(layer.cosine is not None for layer in result.end_to_end.layers)
    reversible, plain = (torch.tensor([n for pair in one for n in pair if n is not None]) for one in found)
    torch.testing.assert_close(reversible, plain, atol=1e-6, rtol=0)
