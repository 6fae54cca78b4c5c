"""The key `data.augment`: names of augmentations that ship, and augmentations of one's own, with their arguments."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from hdlif import datasets
from hdlif.builders.arguments import Checked, checked, chosen, keys
from hdlif.builders.places import At
from hdlif.config import DataConfig
from hdlif.errors import DataError, RecipeError, first_line

if TYPE_CHECKING:
    from torch import Tensor

    from hdlif.data.augment import Augmentation

KEY = "data.augment"
_GENERATOR = "generator"
"""`own_augment.GENERATOR`, which needs PyTorch."""


def _as_it_is() -> None:
    return None


AUGMENTS: Mapping[str, Callable[..., Augmentation | None]] = {
    **dict.fromkeys(datasets.AUGMENTED, _as_it_is),
    "jitter": At("hdlif.data.augment:jitter"),
    "rotate": At("hdlif.data.augment:rotate"),
    "scale": At("hdlif.data.augment:scale"),
}
"""What makes each that takes arguments."""
_GIVEN: Mapping[str, str] = {
    "image": "8-bit pixels",
    "events": "counts",
    "series": "series",
    "table": "rows of numbers",
}


def checked_augment(section: DataConfig, samples: str | None) -> list[Checked[Any]]:
    """The key, checked; each makes an augmentation, or gives None for one that its name says all of.

    Args:
        samples: what a sample of the data is, a kind of input; None where only looking at them tells.
    Raises:
        RecipeError: there is no such augmentation, it is of other samples, or takes no such argument.
    """
    return [_checked(section, place, samples) for place in range(len(section.augment))]


def build_augment(section: DataConfig, samples: str) -> list[str | Augmentation]:
    """The augmentations, in order: names, and what is made with arguments, or is one's own."""
    return [made() or _stated(section, place)[0] for place, made in enumerate(checked_augment(section, samples))]


def try_augment(section: DataConfig, samples: str, shape: tuple[int, ...]) -> None:
    """Raise `RecipeError` where one's own fails on a sample, or draws from what the loader does not seed.

    Args:
        shape: of a raw sample.
    """
    if all(_stated(section, place)[0] in AUGMENTS for place in range(len(section.augment))):
        build_augment(section, samples)
        return
    import numpy as np
    import torch

    raw = torch.float32 if samples != "image" else torch.uint8
    some = (torch.rand(2, *shape, generator=torch.Generator().manual_seed(0)) * (255 if samples == "image" else 1)).to(
        raw
    )
    bits = np.arange(2, dtype=np.uint64)
    for one in build_augment(section, samples):
        if isinstance(one, str) or one.name in AUGMENTS:
            continue
        x = some.float() if one.normalised else some

        try:
            first, again = (one.apply(x.clone(), bits) for _ in range(2))
        except DataError as error:
            raise RecipeError(str(error)) from error
        if not torch.equal(first, again):
            raise RecipeError(
                f"{KEY}: {one.name} gives two results for one sample and draw; let it draw from `generator`, or by "
                "torch, and keep nothing between samples, so that a resumed training sees the same ones"
            )


def _stated(section: DataConfig, place: int) -> tuple[str, dict[str, Any]]:
    one = section.augment[place]
    return (one, {}) if isinstance(one, str) else (one.kind, one.arguments)


def _checked(section: DataConfig, place: int, samples: str | None) -> Checked[Any]:
    kind, arguments = _stated(section, place)
    key = f"{KEY}.{place}"
    make = chosen(AUGMENTS, kind, KEY)
    if kind in AUGMENTS:
        if samples is not None and samples not in (takes := datasets.AUGMENTED[kind]):
            raise RecipeError(
                f'{KEY}: "{kind}" takes {" or ".join(_GIVEN[one] for one in takes)}, and {section.kind} gives '
                f"{_GIVEN[samples]}; leave it out"
            )
        return checked(make, key, arguments, kind=kind, others=partial(keys, *AUGMENTS.values()))
    return _own(make, kind, key, arguments)


def _own(make: Callable[..., Any], kind: str, key: str, arguments: Mapping[str, Any]) -> Checked[Any]:
    """One's own: a class whose objects are called, or a function that is called, with a sample."""
    is_class = isinstance(make, type)
    try:
        taken = list(inspect.signature(make).parameters)
    except (TypeError, ValueError) as error:
        raise RecipeError(
            f'{KEY} = "{kind}": {first_line(error)}; it must be a class or a function of Python'
        ) from error
    if not is_class and (not taken or taken[0] == _GENERATOR):
        raise RecipeError(f'{KEY} = "{kind}" takes no sample; it must be a function (x, generator), or a class of such')
    given = () if is_class else (taken[0], _GENERATOR)
    stated = checked(make, key, arguments, kind=kind, given=given)

    def whole() -> Augmentation:
        from hdlif.data.augment import own_augmentation

        transform = stated() if is_class else make
        if not callable(transform):
            raise RecipeError(
                f'{KEY} = "{kind}" makes what cannot be called with a sample; give it __call__(x, generator)'
            )
        takes_generator = _GENERATOR in inspect.signature(transform).parameters
        if not is_class and arguments:
            transform = _With(make, dict(stated.values))
        return own_augmentation(transform, kind, takes_generator=takes_generator)

    return Checked(whole, key, {}, {}, (), is_own=True)


class _With:
    """A function with arguments, and its attributes."""

    def __init__(self, function: Callable[..., Any], arguments: Mapping[str, Any]) -> None:
        self._function, self._arguments = function, arguments
        vars(self).update(
            {name: getattr(function, name) for name in ("normalised", "costly") if hasattr(function, name)}
        )

    def __call__(self, x: Tensor, **given: Any) -> Any:
        return self._function(x, **self._arguments, **given)
