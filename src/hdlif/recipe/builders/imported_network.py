"""The kind `imported` of the section `model`: a network of another library, as `hdlif import` writes it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from hdlif.errors import ConversionError, RecipeError


def imported_network(
    *,
    structure: str,
    pretrained: str | None = None,
    quantizer: Any,
    time_steps: int,
    classes: int,
    in_channels: int,
    in_size: tuple[int, int],
    filled: bool = False,
) -> Any:
    """Build the network of the kind `imported`.

    Args:
        structure: JSON, as `hdlif.interop.structure` has it.
        pretrained: file with its weights.
        filled: whether to read that file.
    Raises:
        RecipeError: it is no structure, or one for other data.
        CheckpointError: the file is absent, damaged or of another network.
    """
    from hdlif.interop.structure import build
    from hdlif.training.state_dicts import load_state_dict

    try:
        found = json.loads(structure)
        network = build(found, time_steps, quantizer=quantizer)
        shape, outputs = [int(size) for size in found["input"]], int(found["outputs"])
    except (ValueError, KeyError, TypeError, RecursionError, ConversionError) as error:
        raise RecipeError(f"model.structure: {error}") from error
    if shape != [in_channels, *in_size] or outputs != classes:
        raise RecipeError(
            f"model.structure takes {shape} and gives {outputs} outputs; the data have {[in_channels, *in_size]} and "
            f"{classes} classes; give data of these, such as by data.size, or put another last layer behind it"
        )
    if filled and pretrained is not None:
        load_state_dict(
            Path(pretrained), network, "model.structure", "give model.pretrained the file beside the recipe"
        )
    return network
