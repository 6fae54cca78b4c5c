"""A NIR graph as a file."""

from pathlib import Path
from typing import Any

from hdlif.errors import MissingExtraError
from hdlif.whole_files import whole_file


def nir_package() -> Any:
    """Import the package nir. Raises `MissingExtraError` if it is not installed."""
    try:
        import nir
    except ModuleNotFoundError as error:
        raise MissingExtraError(f"{error.name} is not installed; install it with: pip install 'hdlif[nir]'") from error
    return nir


def write(graph: Any, path: Path | str) -> None:
    """Write a `nir.NIRGraph` as HDF5, atomically."""
    package = nir_package()
    with whole_file(Path(path)) as temporary:
        package.write(temporary, graph)
