"""Each rule's gradient beside STBP's, against plain loops and Theorem 4.2."""

import copy
from collections.abc import Iterator

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cases import every
from hdlif.errors import DataError
from hdlif.learning import SLTT, STBP, StochasticStep, coherence, loss_of_each, loss_of_mean
from hdlif.learning.coherence import Layer, RuleCoherence
from hdlif.learning.probe import observe
from hdlif.models import ReversibleSequential, reversible_resnet
from hdlif.nn import HDLIF, LIF, ParallelHDLIF, Sequential, Ternary
from plain_networks import STEPS, TARGET, cosine, frames, gradient, loop, plain, weights
from small_networks import alternate, scatter_norms, tiny_resnet

MEAN, EACH = loss_of_mean(F.cross_entropy), loss_of_each(F.cross_entropy)
RULES = {"stbp": STBP, "sltt": SLTT, "stochastic_step": StochasticStep}
KINDS = [HDLIF, LIF]
LOSSES = {"mean of logits": MEAN, "per step": EACH}


def compare(net: nn.Module, x: Tensor | None = None, **changed: object) -> dict[str, RuleCoherence]:
    arguments = {"rules": RULES, "loss": MEAN, "time_steps": STEPS} | changed
    return coherence(net, [(frames() if x is None else x, TARGET)], **arguments)  # type: ignore[arg-type]


def rows(layers: tuple[Layer, ...], kind: str) -> dict[str, Layer]:
    return {layer.name: layer for layer in layers if layer.kind == kind}


def images(steps: int = STEPS) -> Tensor:
    g = torch.Generator().manual_seed(1)
    return torch.randn(steps, len(TARGET), 2, 6, 6, generator=g, dtype=torch.float64)


# The local view: Theorem 4.2


def test_hd_lif_figures_follow_from_the_firing_bits_and_g() -> None:
    net, x = plain(), frames()
    layers = rows(compare(net)["sltt"].local.layers, "neuron")
    observed = observe(net, x, TARGET, MEAN, time_steps=STEPS)
    for name, layer in layers.items():
        G, fired = observed.along_spikes[name], (observed.spikes[name] > 0).double()
        leak = net.get_submodule(name).leak.values().detach()
        stbp, later = torch.zeros_like(G), torch.zeros_like(G[0])
        for t in reversed(range(STEPS)):
            leaked = leak[t + 1] * later if t + 1 < STEPS else later
            later = stbp[t] = fired[t] * G[t] + (1 - fired[t]) * leaked
        online = fired * G
        assert layer.cosine == pytest.approx(cosine(online, stbp), abs=1e-10)
        assert layer.norm_ratio == pytest.approx(float(online.norm() / stbp.norm()), abs=1e-10)
        assert layer.dropped == pytest.approx(float(((fired == 0) & (stbp != 0)).double().mean()), abs=1e-12)
        assert layer.idle == pytest.approx(float((stbp == 0).double().mean()), abs=1e-12)
        # Never wrong: entries of Theorem 4.2 are equal or dropped.
        assert layer.wrong == layer.opposite == 0
        assert layer.equal + layer.dropped == pytest.approx(1)
        assert layer.firing_rate == pytest.approx(float(fired.mean()), abs=1e-12)
        for t, step in enumerate(layer.per_step):
            assert step.cosine == pytest.approx(cosine(online[t], stbp[t]), abs=1e-10)
            assert step.firing_rate == pytest.approx(float(fired[t].mean()), abs=1e-12)


def test_local_weight_gradient_is_that_of_the_membrane_gradient() -> None:
    net, x = plain(LIF), frames()
    observed = observe(net, x, TARGET, MEAN, time_steps=STEPS)
    synapses = rows(compare(net)["sltt"].local.layers, "synapse")
    for fc, act in (("fc1", "act1"), ("fc2", "act2")):
        weight, found = weights(net)[fc], {}
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


def test_lif_entries_are_wrong_some_even_in_sign() -> None:
    for layer in rows(compare(plain(LIF, threshold=0.6))["sltt"].local.layers, "neuron").values():
        assert layer.wrong > 0.1
        assert layer.equal + layer.dropped + layer.wrong == pytest.approx(1)
        assert layer.wrong > layer.opposite
    assert any(layer.opposite > 0 for layer in rows(compare(plain(LIF))["sltt"].local.layers, "neuron").values())


def test_a_parallel_neuron_is_equal_everywhere() -> None:
    for rule in compare(plain(ParallelHDLIF)).values():
        for layer in rows(rule.local.layers, "neuron").values():
            assert layer.equal == 1
            assert layer.cosine == pytest.approx(1)
        assert rule.end_to_end.cosine == pytest.approx(1)


# End to end


@every(kind=KINDS, loss=LOSSES)
def test_end_to_end_is_the_gradient_with_and_without_detached_potentials(kind, loss) -> None:
    net, x = plain(kind), frames()
    found = compare(net, loss=loss)["sltt"].end_to_end
    own = gradient(net, loss(loop(net, x, cut=True), TARGET))
    reference = gradient(net, loss(loop(net, x, cut=False), TARGET))
    for name, layer in rows(found.layers, "synapse").items():
        assert layer.cosine == pytest.approx(cosine(own[name], reference[name]), abs=1e-10)
        assert layer.norm_ratio == pytest.approx(float(own[name].norm() / reference[name].norm()), abs=1e-10)
    a, b = (torch.cat([g.flatten() for g in gradients.values()]) for gradients in (own, reference))
    assert found.cosine == pytest.approx(cosine(a, b), abs=1e-10)
    assert found.norm_ratio == pytest.approx(float(a.norm() / b.norm()), abs=1e-10)
    assert found.cosine < 0.9999


@every(kind=KINDS)
def test_a_step_end_to_end_is_the_loss_at_that_step_alone(kind) -> None:
    net, x = plain(kind), frames()
    layers = rows(compare(net, loss=EACH)["sltt"].end_to_end.layers, "synapse")
    cut, whole = loop(net, x, cut=True), loop(net, x, cut=False)
    for t in range(STEPS):
        own, reference = (gradient(net, F.cross_entropy(logits[t], TARGET)) for logits in (cut, whole))
        for name, layer in layers.items():
            assert layer.per_step[t].cosine == pytest.approx(cosine(own[name], reference[name]), abs=1e-10)
    assert layers["fc1"].per_step[0].cosine == pytest.approx(1)


def test_a_synapse_has_the_rate_of_what_it_reads_by_step() -> None:
    net, x = plain(), frames()
    x[1] = 0
    layers = rows(compare(net, x)["sltt"].end_to_end.layers, "synapse")
    assert [step.firing_rate for step in layers["fc1"].per_step] == [1, 0, 1, 1]
    assert layers["fc1"].firing_rate == 0.75
    spikes = observe(net, x, TARGET, MEAN, time_steps=STEPS).spikes["act1"]
    for t, step in enumerate(layers["fc2"].per_step):
        assert step.firing_rate == pytest.approx(float((spikes[t] > 0).double().mean()))


@every(kind=KINDS)
def test_one_draw_of_the_random_step_is_compared_with_the_whole_gradient(kind) -> None:
    net, x = plain(kind), frames()
    found = compare(net, loss=EACH)["stochastic_step"].end_to_end
    reference = gradient(net, EACH(loop(net, x, cut=False), TARGET))
    cut = loop(net, x, cut=True)
    assert [plan.steps for plan in found.plans] == [(t,) for t in range(STEPS)]
    for plan in found.plans:
        own = gradient(net, F.cross_entropy(cut[plan.steps[0]], TARGET))
        a, b = (torch.cat([g.flatten() for g in gradients.values()]) for gradients in (own, reference))
        assert plan.cosine == pytest.approx(cosine(a, b), abs=1e-10)
        assert plan.norm_ratio == pytest.approx(float(a.norm() / b.norm()), abs=1e-10)
        assert plan.cosine < found.cosine


@every(kind=KINDS)
def test_losses_that_differ_are_compared_as_two_trainings(kind) -> None:
    net, x = plain(kind), frames()
    found = compare(net, rule_loss=EACH)["sltt"]
    own = gradient(net, EACH(loop(net, x, cut=True), TARGET))
    reference = gradient(net, MEAN(loop(net, x, cut=False), TARGET))
    for name, layer in rows(found.end_to_end.layers, "synapse").items():
        assert layer.cosine == pytest.approx(cosine(own[name], reference[name]), abs=1e-10)
    assert found.local == compare(net)["sltt"].local


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
    found = compare(net, images())["sltt"]
    assert "stem.conv" not in rows(found.end_to_end.layers, "synapse")
    with pytest.raises(RuntimeError, match="no more"):
        compare(net, images(), rules={"failing": Failing})
    for (name, value), expected in zip(net.state_dict().items(), before.state_dict().values(), strict=True):
        assert torch.equal(value, expected), name
    for module, expected in zip(net.modules(), before.modules(), strict=True):
        assert module.training == expected.training
        assert not module._forward_hooks
        assert not module._forward_pre_hooks
    for parameter, expected, grad in zip(net.parameters(), before.parameters(), gradients, strict=True):
        assert parameter.requires_grad == expected.requires_grad
        assert (parameter.grad is None) == (grad is None)
        assert grad is None or torch.equal(parameter.grad, grad)


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


def numbers(tree: object) -> Iterator[float]:
    if isinstance(tree, dict | list):
        for entry in tree.values() if isinstance(tree, dict) else tree:
            yield from numbers(entry)
    elif isinstance(tree, float):
        yield tree
