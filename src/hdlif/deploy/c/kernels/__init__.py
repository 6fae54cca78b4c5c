"""Kernels (the C functions that stages call), and the dependencies between kernels."""

from collections.abc import Mapping
from importlib.resources import files

NEEDS: Mapping[str, tuple[str, ...]] = {
    "conv_codes": ("layer", "add_codes"),
    "add_codes": ("layer",),
    "add_1bit": ("add_codes", "add_pair"),
    "add_2bit": ("add_codes", "add_pair"),
    "add_4bit": ("add_codes", "add_pair"),
    "add_8bit": ("add_codes",),
    "conv_steps": ("layer", "list_active", "add_2bit_steps"),
    "add_2bit_steps": ("add_pair",),
    "conv_numbers": ("layer", "add_numbers"),
    "add_numbers": ("layer",),
    "add_by_reals": ("add_numbers",),
    "add_by_1bit": ("add_numbers",),
    "add_by_bits": ("add_numbers",),
    "sigmoid": ("exponential",),
    "weight_at": ("layer",),
    "place_of": ("layer",),
    "back_through": ("weight_at", "output_of"),
    "add_gradients": ("place_of",),
    "move_numbers": ("velocity_of",),
    "move_latents": ("weight_at", "place_of", "velocity_of"),
    "gradient_of_loss": ("exponential",),
}
"""Kernels that each kernel depends on."""
IN_EXPRESSIONS = ("at_least", "at_most", "at_most_bits", "row_of", "saturated")
"""Kernels that are called in expressions; each is included only if it is used."""
TABLE_BYTES: Mapping[str, int] = {"add_1bit": 128, "add_2bit": 2048, "add_4bit": 1024, "gate": 260, "decay": 260}
"""Bytes of constants per kernel."""


def text_of(kernel: str, parts: Mapping[str, str]) -> str:
    """Return a kernel's source, with each placeholder @NAME@ replaced by the text `parts[NAME]`."""
    text = files(__name__).joinpath(f"{kernel}.c").read_text(encoding="utf-8")
    for name, part in parts.items():
        text = text.replace(f"@{name}@", part)
    return text
