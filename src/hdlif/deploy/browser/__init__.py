"""The runtime as a WebAssembly module with its JavaScript, published for web pages as `packages/hdlif-wasm`.

`make wasm` compiles `hdlif.wasm.gz` from native/.
"""

import gzip
from pathlib import Path

_FOLDER = Path(__file__).parent


def packed_module() -> bytes:
    """Return the gzip-compressed bytes of the module, which take a third of its size."""
    return (_FOLDER / "hdlif.wasm.gz").read_bytes()


def module() -> bytes:
    """Return the bytes of the module."""
    return gzip.decompress(packed_module())


def script() -> str:
    """Return the module's JavaScript, an ES module without imports."""
    return (_FOLDER / "hdlif.js").read_text("utf-8")


def answers_script() -> str:
    """Return the JavaScript that decodes boxes and masks, an ES module without imports."""
    return (_FOLDER / "answers.js").read_text("utf-8")
