"""The cost of learning: the backward pass counted by hand, and the bytes of the C file's structs."""

import pytest
import torch

from deployed_graphs import Builder, random_input
from hdlif.deploy.c.learning import learning_of
from hdlif.graph.artefact import INPUT, Graph
from hdlif.graph.learning import LEVELS
from hdlif.report.accounting import activity, learning_cost, priced
from hdlif.report.accounting.operations import FLOAT_ADD_PJ, FLOAT_MAC_PJ, MJ_PER_PJ


def small_network() -> Graph:
    """A ternary convolution of 3x3 on maps of 4x4, and a float classifier of three classes."""
    b = Builder((2, 4, 4), 3, 0)
    spikes = b.quantise(b.hd_lif(b.affine(b.conv(INPUT, 5, encoding="ternary", padding=(1, 1)))))
    return b.graph(b.conv(spikes, 4, encoding="ternary", padding=(1, 1)))


def test_a_learning_step_costs_its_backward_pass_counted_by_hand() -> None:
    seen = activity(graph := small_network(), torch.from_numpy(random_input(small_network(), 3, 2)))
    # Along a side of 4, padded by 1, the three taps meet 10 of 12 entries. The map after the neuron has 5·16 entries.
    first, second, last = 10 * 10 * 2 * 5, 10 * 10 * 5 * 4, 4 * 16 * 3
    adds, macs = {"classifier": 0, "affine": second}, {"classifier": last}
    # The classifier's input; the quantiser; the neuron and the affine, which are trained; the neuron passes it on.
    macs["affine"] = macs["classifier"] + last + 80 + 2 * 80 + 80
    adds["last-block"] = adds["all"] = adds["affine"]
    # Both convolutions are trained, and the affine passes a gradient on to the first, which needs none of its input.
    macs["last-block"] = macs["all"] = macs["affine"] + first + second + 80
    for level in LEVELS:
        cost = learning_cost(seen, level)
        assert cost.step_mj == priced(seen, "honest").energy_mj / graph.time_steps
        backward = (cost.learning_step_mj - cost.step_mj) / MJ_PER_PJ
        assert backward == pytest.approx(FLOAT_ADD_PJ * adds[level] + FLOAT_MAC_PJ * macs[level]), level


def test_memory_is_of_the_structs_of_the_c_file_less_packing() -> None:
    seen = activity(graph := small_network(), torch.from_numpy(random_input(small_network(), 3, 2)))
    for level in LEVELS:
        for momentum in (0.0, 0.5):
            cost, written = learning_cost(seen, level, momentum=momentum > 0), learning_of(graph, level, momentum)
            assert cost.gradient_bytes + 4 == written.gradients.size
            saved = sum(member.size - member.entries for member in written.members if member.is_latent)
            # The struct has the number of updates and the network too, and up to 3 bytes to align it.
            assert 8 <= written.learned.size - (cost.learned_bytes + cost.momentum_bytes - saved) <= 11, level


def test_an_update_costs_more_with_latents_and_with_momentum() -> None:
    seen = activity(small_network(), torch.from_numpy(random_input(small_network(), 3, 2)))
    plain, moving = (learning_cost(seen, "all", momentum=momentum) for momentum in (False, True))
    assert plain.update_mj == pytest.approx(FLOAT_MAC_PJ * MJ_PER_PJ * (2 * plain.weights + plain.latents))
    assert moving.update_mj == pytest.approx(FLOAT_MAC_PJ * MJ_PER_PJ * (3 * plain.weights + plain.latents))
