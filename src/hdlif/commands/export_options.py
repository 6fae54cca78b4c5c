"""What `hdlif export` writes, and the options of each target; read before PyTorch is."""

from collections.abc import Iterable, Mapping

OPTIONS_OF_TARGETS: Mapping[str, tuple[str, ...]] = {
    "artefact": ("check",),
    "onnx": ("form", "batch", "weights", "check"),
    "nir": ("extension", "for_norse", "check"),
    "c": ("arithmetic", "data", "data_root", "overrides", "rom", "ram", "firmware", "check"),
}


def foreign_options(target: str, given: Iterable[str]) -> tuple[str, tuple[str, ...]] | None:
    """The first of the options given that is not of the target, and the targets that it is of."""
    for name in given:
        if name not in OPTIONS_OF_TARGETS[target]:
            return name, tuple(other for other, names in OPTIONS_OF_TARGETS.items() if name in names)
    return None
