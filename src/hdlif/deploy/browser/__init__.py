"""The hdlif runtime for web pages: a WebAssembly module and its JavaScript, published as `packages/hdlif-wasm`.

Run `make wasm` to compile `hdlif.wasm.gz` from the sources in `native/`.
"""

import gzip
from pathlib import Path

_FOLDER = Path(__file__).parent


def packed_module() -> bytes:
    """Return the gzip-compressed WebAssembly module, which is one third the size of the uncompressed module."""
    return (_FOLDER / "hdlif.wasm.gz").read_bytes()


def module() -> bytes:
    """Return the bytes of the uncompressed WebAssembly module."""
    return gzip.decompress(packed_module())


def script() -> str:
    """Return the runtime's JavaScript as an ES module without imports."""
    return (_FOLDER / "hdlif.js").read_text("utf-8")


def answers_script() -> str:
    """Return the JavaScript that decodes boxes and masks, as an ES module without imports."""
    return (_FOLDER / "answers.js").read_text("utf-8")
