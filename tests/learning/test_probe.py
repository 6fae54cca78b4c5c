"""What the probe reads off a network, against autograd on a plain loop."""

import torch
import torch.nn.functional as F

from cases import every
from hdlif.learning import STBP, loss_of_each, loss_of_mean
from hdlif.learning.probe import end_to_end, layer_local, neurons_of, observe, total
from hdlif.nn import HDLIF, LIF
from plain_networks import STEPS, TARGET, frames, gradient, loop, plain

WHOLE = STBP(criterion=total).schedule(STEPS, torch.Generator())


@every(loss=[loss_of_mean(F.cross_entropy), loss_of_each(F.cross_entropy)], kind=[HDLIF, LIF])
def test_weighted_outputs_under_stbp_have_the_gradient_of_the_loss(kind, loss) -> None:
    net, x = plain(kind), frames()
    along = observe(net, x, TARGET, loss, time_steps=STEPS).along_logits
    found = end_to_end(net, x, TARGET, STBP(criterion=total), WHOLE, along).parameters
    for name, expected in gradient(net, loss(loop(net, x, cut=False), TARGET)).items():
        torch.testing.assert_close(found[f"{name}.weight"], expected / STEPS, atol=1e-10, rtol=0)


@every(kind=[HDLIF, LIF])
def test_cut_network_given_g_has_the_membrane_gradient_of_the_whole_one(kind) -> None:
    net, x, loss = plain(kind), frames(), loss_of_mean(F.cross_entropy)
    observed = observe(net, x, TARGET, loss, time_steps=STEPS)
    found = layer_local(net, x, TARGET, STBP(criterion=total), WHOLE, observed.along_spikes)
    currents = {}
    for name, neuron in neurons_of(net).items():
        neuron.register_forward_pre_hook(lambda module, args, name=name: currents.__setitem__(name, args[0]))
    value = loss(net(x)[0], TARGET)
    for name, expected in zip(currents, torch.autograd.grad(value, list(currents.values())), strict=True):
        torch.testing.assert_close(found.membranes[name], expected, atol=1e-10, rtol=0)
        assert expected.abs().max() > 1e-3
