"""The kind `spiking` of the `model` section: a spiking version of a network from torchvision, timm or your own code."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from hdlif.errors import ConversionError, RecipeError, brief, did_you_mean, first_line
from hdlif.recipe.builders.external_parts import imported, is_own, own_or_one_of

if TYPE_CHECKING:
    from torch import nn

OF = "model.of"
CLASSES = "num_classes"
"""Name of the argument for the number of classes in torchvision and timm."""
_LISTED = "docs/how_to/your_own_network.md lists what converts"


def spiking_network(
    *,
    of: str,
    options: dict[str, Any] | None = None,
    pretrained: str | None = None,
    neuron: Callable[[int], Any],
    quantizer: Any,
    classes: int,
    in_channels: int,
    filled: bool = False,
) -> Any:
    """Convert the network that `of` creates to a spiking network, for images with `in_channels` channels.

    Args:
        neuron, quantizer: as in `spiking`.
        of: function or class, `package.module:Name`, called with the number of classes as `num_classes`.
        options: other arguments of the function.
        pretrained: file with a state dict of the ordinary network. The last linear layer is skipped if its number of
            classes differs; all other tensors must fit.
        filled: whether to read `pretrained`.
    """
    from hdlif.models import spiking

    model = _made(of, options or {}, classes)
    if filled and pretrained is not None:
        _fill(model, Path(pretrained))
    _take_channels(model, in_channels)
    try:
        return spiking(model, neuron, quantizer=quantizer)
    except ConversionError as error:
        raise RecipeError(f'{OF} = "{of}": {error}; {_LISTED}') from error


def check_of(of: object) -> Callable[..., Any]:
    """Return the function that creates the ordinary network. Raises `RecipeError` if no function has this name."""
    if not isinstance(of, str) or not is_own(of):
        raise RecipeError(f"{OF} = {brief(of)} is not the name of a network; {_written(of)}; {_LISTED}")
    try:
        make = imported(of, OF)
    except RecipeError as error:
        raise RecipeError(f"{error}; {_LISTED}") from error
    if not callable(make):
        raise RecipeError(f'{OF} = "{of}" is {brief(make)}; it must be a class or a function; {_LISTED}')
    return cast(Callable[..., Any], make)


def _written(of: object) -> str:
    """Suggest the correct form of a name without a colon, including the most similar name of a torchvision network."""
    form = "write package.module:Name"
    if not isinstance(of, str):
        return form
    if "." in of:
        return own_or_one_of(of, ())
    from torchvision import models

    names = [f"{models.__name__}:{name}" for name in models.list_models(models)]
    return f"{form}, or {did_you_mean(f'{models.__name__}:{of}', names)}"


def _made(of: str, options: dict[str, Any], classes: int) -> nn.Module:
    from torch import nn

    make = check_of(of)
    if CLASSES in options:
        raise RecipeError(f"model.options.{CLASSES} cannot be set; it follows from the data")
    taken = inspect.signature(make).parameters.values()
    takes = any(one.name == CLASSES or one.kind is one.VAR_KEYWORD for one in taken)
    try:
        made = make(**options, **({CLASSES: classes} if takes else {}))
    except Exception as error:
        raise RecipeError(f'{OF} = "{of}" fails: {type(error).__name__}: {first_line(error)}') from error
    if not isinstance(made, nn.Module):
        raise RecipeError(f'{OF} = "{of}" gives a {type(made).__name__}; it must give a torch.nn.Module; {_LISTED}')
    return made


def _fill(model: nn.Module, path: Path) -> None:
    """Load the ordinary network's weights, except those of a last linear layer with a different number of classes."""
    from torch import nn

    from hdlif.training.state_dicts import load_state_dict

    fix = "give model.pretrained a state dict (.pth or .safetensors) of the network that model.of makes"
    linear = [name for name, module in model.named_modules() if isinstance(module, nn.Linear)]
    head = {f"{linear[-1]}.{part}" for part in ("weight", "bias")} if linear else set()
    load_state_dict(path, model, "the network", fix, resized=head)


def _take_channels(model: nn.Module, channels: int) -> None:
    """Change the first convolution's number of input channels; its weights become the rescaled mean of the old ones."""
    from torch import nn

    first = next((one for one in model.modules() if isinstance(one, nn.Conv2d)), None)
    if first is None or first.in_channels == channels:
        return
    if first.groups != 1:
        seen = f"{OF}: the first convolution takes {first.in_channels} channels in {first.groups} groups"
        raise RecipeError(f"{seen}, but the data has {channels} channels; set them in model.options")
    weight = first.weight.detach().mean(1, keepdim=True) * (first.in_channels / channels)
    first.weight = nn.Parameter(weight.expand(-1, channels, -1, -1).contiguous())
    first.in_channels = channels
