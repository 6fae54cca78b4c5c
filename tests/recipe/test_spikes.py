"""Spike quantisers."""

from hdlif.nn import SpikeQuantizer
from small_recipes import built, neurons


def test_learned_spike_step_belongs_to_one_layer() -> None:
    network = built("spikes={kind: quantised, learned: true, gradient: clip}")
    quantizers = [neuron.quantizer for neuron in neurons(network)]
    assert all(isinstance(quantizer, SpikeQuantizer) for quantizer in quantizers)
    assert len({id(quantizer.step) for quantizer in quantizers}) == len(quantizers) == 6
