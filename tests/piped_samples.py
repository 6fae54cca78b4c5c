"""Sources at the end of a pipe, for tests of whatever reads samples as they come."""

import os
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from hdlif.inputs.coming import Source


@contextmanager
def pipe(blocks: Iterable[bytes]) -> Iterator[Source]:
    """Give a source, into whose pipe blocks are written one by one."""
    reader, writer = os.pipe()

    def write() -> None:
        try:
            for block in blocks:
                os.write(writer, block)
        except BrokenPipeError:
            pass
        finally:
            os.close(writer)

    writing = threading.Thread(target=write)
    writing.start()
    try:
        yield Source(reader)
    finally:
        os.close(reader)
        writing.join()


def in_pieces(content: bytes, size: int) -> list[bytes]:
    return [content[begin : begin + size] for begin in range(0, len(content), size)]
