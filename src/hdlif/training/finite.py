"""Search for the first value that is not finite."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack

import torch
from torch import Tensor, nn


def not_finite(model: nn.Module) -> str | None:
    """Return the name of the first parameter or buffer with a NaN or an infinity, if there is one."""
    return next((name for name, tensor in model.state_dict().items() if not tensor.isfinite().all()), None)


def first_not_finite(model: nn.Module, run: Callable[[], object]) -> str | None:
    """Call `run`; return the first layer that ends with a parameter or an output that is not finite."""
    found: list[str] = []

    def watch(name: str) -> Callable[[nn.Module, object, object], None]:
        def check(layer: nn.Module, _: object, output: object) -> None:
            if found:
                return
            for own, parameter in layer.named_parameters(recurse=False):
                if not parameter.isfinite().all():
                    found.append(f"the parameter {name}.{own}")
                    return
            if not all(tensor.isfinite().all() for tensor in _tensors(output)):
                found.append(f"the output of {name} ({type(layer).__name__})")

        return check

    with ExitStack() as hooks:
        for name, layer in model.named_modules():
            hooks.callback(layer.register_forward_hook(watch(name or "the network")).remove)
        run()
    return found[0] if found else None


def _tensors(value: object) -> Iterator[Tensor]:
    """Yield the tensors in nested tuples, lists and mappings."""
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, Mapping):
        for member in value.values():
            yield from _tensors(member)
    elif isinstance(value, tuple | list):
        for member in value:
            yield from _tensors(member)
