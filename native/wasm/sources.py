"""The digest of what `hdlif.wasm.gz` is compiled from, which `make wasm` writes into sources.sha256.

    python native/wasm/sources.py

prints the SHA-256 of all code that the module may depend on, in the order of its paths, without comments and spaces:
a module is current where sources.sha256 has the digest of the sources as they are.
"""

import hashlib
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]


def digest(root: Path = ROOT) -> str:
    """SHA-256 of the sources below `root`, in hexadecimal digits."""
    found = hashlib.sha256()
    for path in files(root):
        text = path.read_text("utf-8")
        if path.name == "CMakeLists.txt":
            text = re.sub(r"^\s*#.*", "", text, flags=re.MULTILINE)
        else:
            text = re.sub(r"//.*|/\*.*?\*/", "", text, flags=re.DOTALL if path.name == "hdlif.h" else 0)
        found.update(f"{path.relative_to(root).as_posix()}\n{''.join(text.split())}\n".encode())
    return found.hexdigest()


def files(root: Path = ROOT) -> list[Path]:
    """The sources: of the runtime and its C interface, not of training, Python or the other libraries."""
    return sorted(
        path
        for path in (
            root / "CMakeLists.txt",
            root / "native/wasm/CMakeLists.txt",
            root / "include/hdlif.h",
            *(path for kind in ("*.cpp", "*.h", "*.inl") for path in (root / "native").rglob(kind)),
        )
        if path.parent != root / "native/training" and not path.stem.endswith("bindings")
    )


if __name__ == "__main__":
    print(digest())
