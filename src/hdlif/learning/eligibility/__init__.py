"""Forward-mode eligibility: derivatives of neuron states by the weights of their layer, carried along time.

A layer is a synapse W, a batch norm, a gain and shift or none, and neurons that are independent within a step:
(s_t, v_t) = f(I_t, v_{t-1}, p) with states v and parameters p. For a weight w of the neuron's own row

    e_t = dv_t/dw = (∂v_t/∂v_{t-1})·e_{t-1} + (∂v_t/∂I_t)·dI_t/dw,    e_0 = 0
    dL/dw = Σ_t G_t·ds_t/dw,    ds_t/dw = (∂s_t/∂v_{t-1})·e_{t-1} + (∂s_t/∂I_t)·dI_t/dw,    G_t = dL/ds_t

which is the full gradient through time of that layer, without a graph through it (real-time recurrent learning of a
diagonal system). The second term of ds_t/dw is the gradient of a step with constant states, computed by autograd;
the first is added to it here, where the step's spikes are emitted. With HD-LIF
e_t = (1 - χ_t)(λ_t·e_{t-1} + x_t).

Batch norm in train mode couples samples: dI_t/dw is then g·(x - mean(x) - n·mean(n·x)), n being what is normalised and
g its slope. A leak or threshold shared by all steps has an eligibility too, [B, N]; a per-step one has none, and
gets the gradient of its own step only.

Several steps may run at once, cut from each other. Dependencies between the steps of a chunk are then computed by a
backward pass through its states alone; e is read once, at the start, and advanced once, by the product of Jacobians:
the same sums, with one pass over the traces instead of one per step.
"""

from hdlif.learning.eligibility.network import Eligibility, WayBack

__all__ = ["Eligibility", "WayBack"]
