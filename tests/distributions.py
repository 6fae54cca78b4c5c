"""Small installed packages, made on the fly: a folder of metadata on sys.path, and a module beside it."""

import importlib
import shutil
import sys
from pathlib import Path

import pytest

WAVE = """
import torch

from hdlif.nn import EquationNeuron, Parameter


class Wave(EquationNeuron):
    states = ("potential",)
    leak = Parameter(0.5)
    threshold = Parameter(0.5)

    @staticmethod
    def step(current, potential, leak, threshold):
        membrane = leak * potential + current
        return torch.relu(membrane - threshold), torch.minimum(membrane, threshold)


NUMBER = 3
"""


def install(
    folder: Path,
    patch: pytest.MonkeyPatch,
    *,
    name: str = "spiking-waves",
    version: str = "1.2",
    groups: dict[str, dict[str, str]],
    **modules: str,
) -> None:
    """Install a distribution in a folder, in the place of another version.

    Args:
        groups: its entry points, by group.
        modules: their text, by name.
    """
    site = folder / "site-packages"
    stem = name.replace("-", "_")
    for earlier in site.glob(f"{stem}-*.dist-info"):
        shutil.rmtree(earlier)
    info = site / f"{stem}-{version}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    lines = [
        line for group, named in groups.items() for line in (f"[{group}]", *(f"{k} = {v}" for k, v in named.items()))
    ]
    (info / "entry_points.txt").write_text("\n".join(lines) + "\n")
    for module, text in modules.items():
        (site / f"{module}.py").write_text(text)
        patch.delitem(sys.modules, module, raising=False)
    if str(site) not in sys.path:
        patch.syspath_prepend(site)
    importlib.invalidate_caches()
