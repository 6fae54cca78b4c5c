"""Forward-mode eligibility: derivatives of neuron states with respect to their layer's weights, updated at each step.

A layer consists of a synapse W, an optional batch norm or gain and shift, and neurons that are independent within a
step: (s_t, v_t) = f(I_t, v_{t-1}, p), with states v and parameters p. For a weight w in the neuron's own row

    e_t = dv_t/dw = (∂v_t/∂v_{t-1})·e_{t-1} + (∂v_t/∂I_t)·dI_t/dw,    e_0 = 0
    dL/dw = Σ_t G_t·ds_t/dw,    ds_t/dw = (∂s_t/∂v_{t-1})·e_{t-1} + (∂s_t/∂I_t)·dI_t/dw,    G_t = dL/ds_t

This is the full gradient of the layer through time, without a graph through time (real-time recurrent learning of a
diagonal system). The second term of ds_t/dw is the gradient of a step with constant states, computed by autograd;
hdlif adds the first when the step emits its spikes. With HD-LIF
e_t = (1 - χ_t)(λ_t·e_{t-1} + x_t).

Batch norm in train mode couples samples: dI_t/dw is then g·(x - mean(x) - n·mean(n·x)), with the normalised output n
and its slope g. A leak or threshold shared by all steps also has an eligibility, [B, N]. A per-step leak or threshold
has none, and receives only the gradient of its own step.

Several steps may run as one chunk, cut from each other. A backward pass through the states alone then computes the
dependencies between these steps. e is read once, at the start, and advanced once, by the product of Jacobians. The sums
are the same, with one pass over the traces instead of one per step.
"""

from hdlif.learning.eligibility.network import Eligibility, WayBack

__all__ = ["Eligibility", "WayBack"]
