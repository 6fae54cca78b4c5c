"""Networks of other libraries and what they became here: the same outputs and gradients."""

from collections.abc import Collection

import torch
from torch import Tensor, nn


def assert_same_outputs_and_gradients(
    ours: nn.Module, found: Tensor, theirs: nn.Module, expected: Tensor, *, without: Collection[str] = ()
) -> None:
    """Of spikes or logits that are equal in every bit, and of all parameters that have one name in both.

    Args:
        without: names, or ends of names, of parameters of theirs that have no counterpart.
    """
    torch.testing.assert_close(found, expected.to(found.dtype), atol=0, rtol=0)
    assert expected.std() > 0
    weights = torch.randn(expected.shape, generator=torch.Generator().manual_seed(0)).to(found.dtype)
    (expected * weights).sum().backward()
    (found * weights).sum().backward()
    gradients = {name.replace("synapse", "recurrent"): one.grad for name, one in ours.named_parameters()}
    for name, parameter in theirs.named_parameters():
        if not name.endswith(tuple(without)):
            assert parameter.grad is not None
            torch.testing.assert_close(gradients[name], parameter.grad, atol=1e-4, rtol=1e-4)
