"""Latent weights to few bits by Triton's kernels, on a GPU; nothing waits for it.

Sums are in float64, within an instance and then over instances, always in the same order.
"""

import torch
from torch import Tensor

from hdlif.functional.quantizers import TERNARY_THRESHOLD
from hdlif.kernels.gpu import launching

BLOCK = 1024
"""Weights that an instance takes at once: a power of two."""
INSTANCES = 512
"""At most, as each adds up what all have found: a power of two."""
_MODULE = f"{__package__}.triton_kernels"


def ternarize(weight: Tensor, weight_q: Tensor) -> None:
    """Fills W_q, which is laid like the latent weights: after their mean, that of what is above the threshold."""
    entries = weight.numel()
    rounds = -(-entries // (BLOCK * INSTANCES))
    instances = -(-entries // (BLOCK * rounds))
    sums, kept, counts = weight.new_empty(3, instances, dtype=torch.float64).unbind()
    size = {"entries": entries, "rounds": rounds, "BLOCK": BLOCK}
    found = {"instances": instances, "threshold": TERNARY_THRESHOLD, "INSTANCES": INSTANCES}
    with launching.on(weight.device):
        launching.launch_from(_MODULE, "magnitudes", instances, {"weight": weight, "sums": sums, **size})
        of_kept = {"weight": weight, "sums": sums, "kept": kept, "counts": counts, **found, **size}
        launching.launch_from(_MODULE, "above_threshold", instances, of_kept)
        launching.launch_from(_MODULE, "ternary_values", instances, {**of_kept, "weight_q": weight_q})


def binarize(weight: Tensor, weight_q: Tensor) -> None:
    """Fills W_q of weights [out, ...], which is laid like them, an output channel an instance."""
    with launching.on(weight.device):
        launching.launch_from(
            _MODULE,
            "binary_values",
            len(weight),
            {"weight": weight, "weight_q": weight_q, "entries": weight[0].numel(), "BLOCK": BLOCK},
        )
