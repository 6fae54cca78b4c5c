"""The state of callbacks in a checkpoint: values in its record under "callbacks", tensors as callbacks.NAME.KEY."""

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from torch import Tensor

from hdlif.errors import TrainingError, first_line
from hdlif.training.callback import Callback


def callback_states(callbacks: Sequence[Callback]) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return the tensors and the plain values that callbacks keep.

    Raises:
        TrainingError: a callback keeps something that is neither a tensor nor a plain value of JSON.
    """
    tensors: dict[str, Tensor] = {}
    plain: dict[str, Any] = {}
    for name, callback in _named(callbacks):
        state = callback.state_dict()
        values = {key: value for key, value in state.items() if not isinstance(value, Tensor)}
        tensors |= {f"{_of(name)}{key}": value for key, value in state.items() if isinstance(value, Tensor)}
        try:
            json.dumps(values, allow_nan=False)
        except (TypeError, ValueError, RecursionError) as error:
            raise TrainingError(
                f"{name}: a checkpoint cannot keep its state_dict ({first_line(error)}); give tensors and plain values "
                "of JSON"
            ) from error
        if values:
            plain[name] = values
    return tensors, plain


def load_callback_states(
    callbacks: Sequence[Callback], tensors: Mapping[str, Tensor], plain: Mapping[str, Mapping[str, Any]]
) -> None:
    """Give every callback what it kept in a checkpoint."""
    for name, callback in _named(callbacks):
        prefix = _of(name)
        own = {key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)}
        callback.load_state_dict({**plain.get(name, {}), **own})


def _named(callbacks: Sequence[Callback]) -> Iterator[tuple[str, Callback]]:
    """Each callback with the name of its class; a second one of the same class is NAME 2."""
    seen: Counter[str] = Counter()
    for callback in callbacks:
        name = type(callback).__name__
        seen[name] += 1
        yield name if seen[name] == 1 else f"{name} {seen[name]}", callback


def _of(name: str) -> str:
    return f"callbacks.{name}."
