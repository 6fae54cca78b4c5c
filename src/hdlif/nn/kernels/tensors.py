"""Checks for tensors that kernels read by address, and the choice of threads for the kernels."""

import ctypes
import sys

import torch
from torch import Tensor

from hdlif import _native

SMALL = 64
"""Number of pixels of a map below which oneDNN's convolutions are faster in the contiguous layout."""


def is_small(maps: Tensor) -> bool:
    """Return whether maps [N, C, H, W] have fewer than `SMALL` pixels."""
    return maps.shape[2:].numel() < SMALL


def is_plain(tensor: Tensor, device: torch.device) -> bool:
    """Return whether a tensor is an ordinary tensor with its own memory on a device.

    Under a compiler, return False, because further checks would break the compiler's graph.
    """
    return (
        not torch.compiler.is_compiling()
        and type(tensor) in (Tensor, torch.nn.Parameter)
        and tensor.device == device
        and tensor.layout == torch.strided
        and not tensor.is_neg()
        and not torch._C._functorch.is_functorch_wrapped_tensor(tensor)
        and not torch._C._functorch.is_legacy_batchedtensor(tensor)
        and not tensor._is_zerotensor()
    )


def is_dense(maps: Tensor) -> bool:
    """Return whether maps [K, B, C, H, W] lie in memory without gaps, either contiguous or channels last."""
    if maps.is_contiguous():
        return True
    # An axis of size 1 may have any stride.
    follow = maps.shape[0] == 1 or maps.stride(0) == maps[0].numel()
    return follow and maps[0].is_contiguous(memory_format=torch.channels_last)


def is_watched() -> bool:
    """Return whether PyTorch is compiling, tracing or transforming operations, or computing tangents."""
    return (
        torch.compiler.is_compiling()
        or torch._C._len_torch_dispatch_stack() > 0
        or torch.autograd.forward_ad._current_level >= 0
        or is_transformed()
    )


def is_transformed() -> bool:
    """Return whether PyTorch is transforming (`torch.func`) or tracing (`torch.jit`) a function."""
    return torch._C._functorch.peek_interpreter_stack() is not None or torch._C._get_tracing_state() is not None


def openmp_parallel() -> int:
    """Return the address of GOMP_parallel in the OpenMP runtime that PyTorch has loaded, or 0 if none is found.

    The OpenMP runtimes of GNU, LLVM and Intel all provide GOMP_parallel.
    """
    if sys.platform != "linux":
        return 0
    try:
        function = ctypes.CDLL(None).GOMP_parallel
    except (AttributeError, OSError):
        return 0
    return ctypes.cast(function, ctypes.c_void_p).value or 0


def share_threads() -> None:
    """Run kernels on PyTorch's threads, so that separate threads do not compete for the cores."""
    _native.set_parallel(openmp_parallel())
