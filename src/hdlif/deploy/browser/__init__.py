"""The runtime as a WebAssembly module, and its JavaScript: files for web pages, published as `packages/hdlif-wasm`.

`make wasm` compiles `hdlif.wasm.gz` from native/.
"""

import gzip
from pathlib import Path

_FOLDER = Path(__file__).parent


def packed_module() -> bytes:
    """File of the module, compressed by gzip: a third of its size."""
    return (_FOLDER / "hdlif.wasm.gz").read_bytes()


def module() -> bytes:
    """Return the bytes of the module."""
    return gzip.decompress(packed_module())


def script() -> str:
    """Return its JavaScript, an ES module without imports."""
    return (_FOLDER / "hdlif.js").read_text("utf-8")


def answers_script() -> str:
    """Return the JavaScript that decodes boxes and masks, an ES module without imports."""
    return (_FOLDER / "answers.js").read_text("utf-8")
