"""Fuse chains of layers to reduce the number of passes over memory.

If nothing else reads the intermediate values, a convolution returns its maps and the sums for batch statistics. The
batch norm is reduced to three rows of parameters. The next neuron layer applies the rows and passes codes to the next
convolution. If a convolution, norm, neuron layer and quantiser are fused, the maps are written and read only once.
Without an autograd graph, spikes are stored only as codes. A norm without a following neuron layer runs as a separate
pass. A norm at the end of a chain adds the chain's summand in the same pass. Layers that cannot be fused run separately
on ordinary tensors.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn.modules.module import _has_any_global_hook
from torch.profiler import record_function
from torch.utils.hooks import RemovableHandle

from hdlif.nn.kernels.batch_norm import Moments, Rows, apply_norm, apply_rows, moments_of
from hdlif.nn.kernels.code_conv import convolve_with_moments, sum_products
from hdlif.nn.kernels.codes import CodedSpikes
from hdlif.nn.kernels.tensors import is_dense, is_plain, is_watched
from hdlif.nn.norm import BatchNorm2d
from hdlif.nn.step_neuron import SteppedNeuron
from hdlif.nn.steps import Pass
from hdlif.nn.synapses import QuantConv2d

WORTH_NORMALISING = 2**14
"""Number of entries of maps from which a norm's own pass is faster than PyTorch's operations."""


@dataclass(frozen=True)
class Watch:
    """Callbacks for the start and end of a layer's forward pass.

    The callbacks do not read the layer's inputs or outputs, so the layer may run in a chain.

    Attributes:
        begin: called with the layer.
        end: called with the layer, its arguments, and how it ran: "" if it ran outside a chain.
    """

    begin: Callable[[nn.Module], None]
    end: Callable[[nn.Module, tuple[Any, ...], str], None]

    def attach(self, layer: nn.Module) -> list[RemovableHandle]:
        """Watch a layer until the returned handles are removed."""
        return [layer.register_forward_pre_hook(self._begins), layer.register_forward_hook(self._ends)]

    def _begins(self, layer: nn.Module, _: Any) -> None:
        self.begin(layer)

    def _ends(self, layer: nn.Module, given: tuple[Any, ...], _: Any) -> None:
        self.end(layer, given, "")


@dataclass(frozen=True)
class Maps:
    """Maps [K, B, C, H, W] with a pending normalisation.

    Attributes:
        moments: the moments of the maps.
        norm: the rows that normalise the maps, if known.
        are_own: whether nothing else reads the values, so they may be overwritten.
    """

    values: Tensor
    moments: Moments
    norm: Rows | None = None
    are_own: bool = False

    def tensor(self) -> Tensor:
        """Return the maps, normalised if their normalisation rows are known."""
        if self.norm is not None and not torch.is_grad_enabled():
            return apply_rows(self.values, self.norm, in_place=self.are_own)
        if self.norm is not None:
            mean, scale, shift = self.norm
            return torch.addcmul(shift - scale * mean, self.values, scale)
        unit = self.moments.unit
        return self.values if unit is None or self.moments.are_units else self.values * unit.view(1, 1, -1, 1, 1)


Value = Tensor | CodedSpikes | Maps


class Running(Protocol):
    """The protocol for running a module's children on one chunk, which `hdlif.nn.Scope` implements."""

    def __call__(self, name: str, x: Tensor) -> Tensor: ...

    def child(self, name: str) -> nn.Module: ...

    def ran(self, name: str) -> None: ...

    def weight_of(self, layer: nn.Module) -> Tensor | None: ...

    def given_to(self, name: str) -> Mapping[str, Any] | None: ...

    def keep(
        self, name: str, child: nn.Module, given: Mapping[str, Any] | None, state: Mapping[str, Any] | None
    ) -> None: ...


def may_run_as_one(x: Tensor, carried: Pass) -> bool:
    """Return whether children may be fused, which requires float32 maps on a CPU and no observers."""
    return (
        not torch.compiler.is_compiling()
        and carried.gather is None
        and not carried.observers
        and not carried.measures
        and not carried.by_average
        and _are_maps(x)
        # For one pixel, PyTorch's products and norms are faster.
        and x.shape[3:] != (1, 1)
        and not is_watched()
        and not _has_any_global_hook()  # type: ignore[no-untyped-call]
    )


def run_chain(run: Running, steps: range, x: Tensor, names: Sequence[str], plus: Callable[[], Tensor] | None) -> Tensor:
    """Run the named children as a chain, and return the last child's output plus the summand, if any."""
    return _Chain(run, steps, names, plus).through(x)


class _Chain:
    """The execution of consecutive children on one chunk.

    Args:
        run: the scope of their parent.
        plus: returns the summand for the last child's output; it is called right before or after that child.
    """

    def __init__(self, run: Running, steps: range, names: Sequence[str], plus: Callable[[], Tensor] | None) -> None:
        self._run, self._steps, self._names, self._plus = run, steps, names, plus
        self._is_added = False
        self._children = [run.child(name) for name in names]
        self._at = 0

    def through(self, x: Tensor) -> Tensor:
        value: Value = x
        for at, child in enumerate(self._children):
            self._at = at
            value = self._output(child, value)
        y = _tensor(value)
        return y if self._plus is None or self._is_added else y + self._plus()

    def _output(self, child: nn.Module, value: Value) -> Value:
        if _is_seen(child):
            made = None
        elif watches := [watch for hook in child._forward_hooks.values() if (watch := _watch_of(hook))]:
            made = self._watched(child, value, watches)
        else:
            made = self._in_chain(child, value)
        name = self._names[self._at]
        if made is None:
            made = self._run(name, _tensor(value))
        else:
            self._run.ran(name)
            if not isinstance(child, SteppedNeuron):
                self._run.keep(name, child, self._run.given_to(name), None)
        return made

    def _in_chain(self, child: nn.Module, value: Value) -> Value | None:
        """Return the child's output, or None if the child cannot run in the chain."""
        if isinstance(value, CodedSpikes):
            if isinstance(child, QuantConv2d):
                return self._convolved(child, value)
            window = side_by_side(child)
            return None if window is None else value.pool(window)
        if isinstance(child, BatchNorm2d):
            return self._normalised(child, value)
        return self._fired(child, value) if isinstance(child, SteppedNeuron) else None

    def _watched(self, child: nn.Module, value: Value, watches: Sequence[Watch]) -> Value | None:
        for watch in watches:
            watch.begin(child)
        # PyTorch's profiler does not record the kernels, which are not PyTorch operations.
        with record_function("hdlif kernels"):
            made = self._in_chain(child, value)
        for watch in watches:
            watch.end(child, (), "" if made is None else self._how(child, made))
        return made

    def _convolved(self, conv: QuantConv2d, spikes: CodedSpikes) -> Tensor | Maps | None:
        how = conv.as_code_conv()
        if how is None or spikes.codes.codes.shape[1:3] == (1, 1):
            # For one pixel, PyTorch's products are faster.
            return None
        weight = self._run.weight_of(conv)
        weight = conv.weight_q() if weight is None else weight
        if spikes.way is None:
            found = sum_products(spikes, weight, how)
            return None if found is None else Maps(*found, are_own=True)
        x = spikes.way.flatten(0, 1)
        if conv.hindrance(x, weight, spikes.codes) is not None:
            return None
        steps = spikes.steps if self._is_normalised_next() else 0
        y, moments = convolve_with_moments(x, weight, spikes.codes, how, steps)
        maps = y.view(spikes.steps, -1, *y.shape[1:])
        return maps if moments is None else Maps(maps, moments)

    def _normalised(self, norm: BatchNorm2d, value: Tensor | Maps) -> Tensor | Maps | None:
        maps = value if isinstance(value, Tensor) else value.values
        if isinstance(value, Maps) and value.norm is not None:
            return None
        if not _are_maps(maps) or not is_dense(maps) or not norm.is_rows(maps, self._steps):
            return None
        if maps.shape[3:] == (1, 1):
            # The rows are as large as a sample here; PyTorch's norm is faster.
            return None
        device, entries = maps.device, maps[0].numel()
        is_for_neuron = len(maps) == len(self._steps) and self._goes_on_as_rows(device, entries)
        is_worth_it = norm.training and maps.numel() >= WORTH_NORMALISING
        if isinstance(value, Tensor) and not is_for_neuron and not is_worth_it:
            return None
        if isinstance(value, Tensor):
            value = Maps(maps, moments_of(maps.detach()) if norm.training else Moments.of_nothing(maps))
        plus = None if is_for_neuron else self._added_to(maps)
        found = norm.counted_at(self._steps)
        if is_for_neuron and torch.is_grad_enabled():
            maps, rows = found.rows_with_graph(maps, value.moments)
            return replace(value, values=maps, norm=rows)
        if is_for_neuron:
            return replace(value, norm=found.rows(value.moments))
        if torch.is_grad_enabled():
            return apply_norm(found, maps, value.moments, plus)
        return apply_rows(maps, found.rows(value.moments), plus, in_place=value.are_own)

    def _added_to(self, maps: Tensor) -> Tensor | None:
        """Return the chain's summand and mark it as added, or return None if this pass over `maps` cannot add it."""
        if self._plus is None or self._at + 1 < len(self._names):
            return None
        plus = self._plus()
        is_like = plus.device == maps.device and plus.shape[1:] == maps.shape[1:] and len(plus) in (1, len(maps))
        is_laid_so = plus.stride()[1:] == maps.stride()[1:]
        if not is_like or not is_laid_so or not _are_maps(plus) or not is_dense(plus):
            self._plus = lambda: plus
            return None
        self._is_added = True
        return plus

    def _fired(self, neuron: SteppedNeuron, value: Tensor | Maps) -> Tensor | CodedSpikes | None:
        maps, norm = (value.values, value.norm) if isinstance(value, Maps) else (value, None)
        if not neuron.runs_in_chains(maps.device, len(self._steps), maps[0].numel()):
            return None
        if (isinstance(value, Maps) and norm is None) or not _are_maps(maps):
            return None
        codes = self._reads_codes()
        if norm is None and not codes:
            return None
        name = self._names[self._at]
        given = self._run.given_to(name)
        found = neuron.run_in_chain(maps, norm, given, self._steps, codes=codes)
        if found is None:
            return None
        spikes, state = found
        self._run.keep(name, self._children[self._at], given, state)
        return spikes

    def _how(self, child: nn.Module, made: Value) -> str:
        """Return a description of how a child ran in the chain."""
        if isinstance(child, QuantConv2d | nn.AvgPool2d):
            return "kernels for codes"
        if isinstance(child, SteppedNeuron):
            return "fused"
        return "rows that the neuron applies" if isinstance(made, Maps) else "one pass"

    def _is_normalised_next(self) -> bool:
        """Return whether the next child is a batch norm that can use the moments of this child's maps."""
        if self._at + 1 >= len(self._children):
            return False
        norm = self._children[self._at + 1]
        return isinstance(norm, BatchNorm2d) and norm.training and not _is_seen(norm)

    def _goes_on_as_rows(self, device: torch.device, entries: int) -> bool:
        """Return whether the next neuron layer can apply this norm's rows to maps with `entries` entries."""
        if self._at + 1 >= len(self._children):
            return False
        norm, neuron = self._children[self._at : self._at + 2]
        if not isinstance(neuron, SteppedNeuron):
            return False
        return neuron.runs_in_chains(device, len(self._steps), entries) and not _is_seen(norm) and not _is_seen(neuron)

    def _reads_codes(self) -> bool:
        """Return whether the next child is a convolution that reads codes; without a graph, a pool may precede it."""
        at = self._at + 1
        if not torch.is_grad_enabled() and at < len(self._children):
            pool = self._children[at]
            at += int(side_by_side(pool) is not None and not _is_seen(pool))
        if at >= len(self._children):
            return False
        conv = self._children[at]
        return isinstance(conv, QuantConv2d) and not _is_seen(conv) and conv.as_code_conv() is not None


def side_by_side(pool: nn.Module) -> tuple[int, int] | None:
    """Return the window size of an average-pooling layer with adjacent windows and no padding, otherwise None."""
    if type(pool) is not nn.AvgPool2d:
        return None
    window, stride, padding = (_pair(one) for one in (pool.kernel_size, pool.stride, pool.padding))
    is_plain = stride == window and padding == (0, 0) and not pool.ceil_mode and pool.divisor_override is None
    return window if is_plain else None


def _pair(size: int | tuple[int, int]) -> tuple[int, int]:
    return (size, size) if isinstance(size, int) else size


def _tensor(value: Value) -> Tensor:
    if isinstance(value, Tensor):
        return value
    return value.spikes() if isinstance(value, CodedSpikes) else value.tensor()


def _watch_of(hook: Any) -> Watch | None:
    owner = getattr(hook, "__self__", None)
    return owner if isinstance(owner, Watch) else None


def _is_seen(module: nn.Module) -> bool:
    """Return whether hooks observe a module or one of its submodules, such as a neuron's quantiser."""
    if "forward" in module.__dict__ or module._backward_pre_hooks or module._backward_hooks:
        return True
    # Plain loops: this runs for every layer and step.
    for hooks in (module._forward_pre_hooks, module._forward_hooks):
        if hooks and any(_watch_of(hook) is None for hook in hooks.values()):
            return True
    for part in module._modules.values():  # noqa: SIM110
        if part is not None and _is_seen(part):
            return True
    return False


def _are_maps(x: Tensor) -> bool:
    """Return whether the kernels can read `x`, which must be plain float32 maps [K, B, C, H, W] in CPU memory."""
    return x.ndim == 5 and x.is_cpu and x.dtype == torch.float32 and x.numel() > 0 and is_plain(x, x.device)
