"""Forward-mode eligibility: derivatives of neuron states with respect to the layer's weights, updated at each step.

A layer consists of a synapse W, an optional batch norm or gain and shift, and neurons. Within a step, the neurons are
independent: (s_t, v_t) = f(I_t, v_{t-1}, p), with states v and parameters p. For a weight w in a neuron's row of W, the
eligibility e and the gradient of the loss are:

    e_t = dv_t/dw = (∂v_t/∂v_{t-1})·e_{t-1} + (∂v_t/∂I_t)·dI_t/dw,    e_0 = 0
    dL/dw = Σ_t G_t·ds_t/dw,    ds_t/dw = (∂s_t/∂v_{t-1})·e_{t-1} + (∂s_t/∂I_t)·dI_t/dw,    G_t = dL/ds_t

This dL/dw is the layer's full gradient through time, computed without an autograd graph over time (real-time recurrent
learning of a diagonal system). Autograd computes the second term of ds_t/dw, which is the gradient of a step with
constant states. An observer adds the first term of ds_t/dw when the step emits spikes. With HD-LIF, e_t = (1 -
χ_t)(λ_t·e_{t-1} + x_t), where χ_t is 1 if the neuron fires and 0 otherwise.

Batch norm in train mode couples samples, so dI_t/dw is g·(x - mean(x) - n·mean(n·x)) with the normalised output n and
the slope g. A leak or threshold that all steps share also has an eligibility, [B, N]. A per-step leak or threshold has
no eligibility and receives only the gradient of its own step.

Several steps may run as one chunk, with the graph cut between steps. In a chunk, a backward pass through only the
states computes the dependencies between steps. Each chunk reads the trace e once and advances it once, by the product
of the Jacobians. The sums are the same as for single steps, but the chunk needs only one pass over the traces.
"""

from hdlif.learning.eligibility.network import Eligibility, WayBack

__all__ = ["Eligibility", "WayBack"]
