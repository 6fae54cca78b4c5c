"""The exact gradient of a layer's weights carried forward in time, without a graph through it."""

import torch
from torch import Tensor

from hdlif.errors import ShapeError


def forward_mode_gradient(inputs: Tensor, fired: Tensor, leak: Tensor, upstream: Tensor) -> Tensor:
    """dL/dW of one fully connected HD-LIF layer, equal to back-propagation through time.

    e_t = λ_t·(1 - χ_{t-1})·e_{t-1} + x_t,   dL/dW = Σ_t (G_t·χ_t)·e_t

    Firing at t - 1 clears what a neuron remembers, so that e, unlike the trace of OTTT, belongs to the synapse: it
    takes B·N_out·N_in numbers, whatever T is. It is the truth that OTTT's trace approximates, not a rule for training.

    One synapse, two steps; the neuron fires at the second one, where its trace is ½·1 + 2:

    >>> import torch
    >>> from hdlif.functional import forward_mode_gradient
    >>> inputs, fired = torch.tensor([1.0, 2.0]).view(2, 1, 1), torch.tensor([0.0, 1.0]).view(2, 1, 1)
    >>> forward_mode_gradient(inputs, fired, torch.tensor([0.5, 0.5]), torch.ones(2, 1, 1)).tolist()
    [[2.5]]

    Args:
        inputs: x_t, [T, B, N_in].
        fired: χ_t = 1[m_t > θ_t], [T, B, N_out].
        leak: λ_t, [T] or [T, N_out].
        upstream: G_t = dL/ds_t along the edge to the next layer, [T, B, N_out].
    Returns:
        [N_out, N_in], without a graph.
    Raises:
        ShapeError: the time steps, samples or neurons of the arguments differ.
    """
    fits = inputs.ndim == fired.ndim == 3 and inputs.shape[:2] == fired.shape[:2] and fired.shape == upstream.shape
    if not fits or leak.shape not in (inputs.shape[:1], fired.shape[::2]):
        shapes = ", ".join(str(list(tensor.shape)) for tensor in (inputs, fired, leak, upstream))
        raise ShapeError(f"inputs, fired, leak, upstream have shapes {shapes}; see the docstring for those that fit")
    with torch.no_grad():
        rows = leak.view(len(leak), 1, -1, 1)
        eligibility = inputs.new_zeros(*fired.shape[1:], inputs.shape[2])
        gradient = inputs.new_zeros(fired.shape[2], inputs.shape[2])
        silent = torch.ones_like(upstream[0])
        for x, chi, a, g in zip(inputs, fired.to(upstream.dtype), rows, upstream, strict=True):
            eligibility = a * silent[..., None] * eligibility + x[:, None, :]
            gradient += torch.einsum("bo,boi->oi", g * chi, eligibility)
            silent = 1 - chi
    return gradient
