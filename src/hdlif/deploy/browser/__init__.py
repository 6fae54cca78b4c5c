"""The runtime as a WebAssembly module, and its JavaScript: files that pages carry and `packages/hdlif-wasm` publishes.

`make wasm` compiles `hdlif.wasm.gz` from native/.
"""

import gzip
from pathlib import Path

_FOLDER = Path(__file__).parent


def packed_module() -> bytes:
    """The module as it is here, compressed by gzip: a third of its size."""
    return (_FOLDER / "hdlif.wasm.gz").read_bytes()


def module() -> bytes:
    """The bytes of the module."""
    return gzip.decompress(packed_module())


def script() -> str:
    """Its JavaScript, an ES module without imports."""
    return (_FOLDER / "hdlif.js").read_text("utf-8")


def answers_script() -> str:
    """What reads boxes and masks off its outputs, an ES module without imports."""
    return (_FOLDER / "answers.js").read_text("utf-8")
