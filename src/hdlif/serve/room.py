"""The memory that all requests of a server share."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from hdlif.serve.refusals import Refusal

Grow = Callable[[int], None]
"""Takes more bytes for a request; raises `Refusal` if there is no room."""


class Room:
    """Count the bytes of all requests: bodies, data made of them, and answers. Any thread may take some."""

    def __init__(self, most: int) -> None:
        self.most, self.held = most, 0
        self._lock = threading.Lock()

    @contextmanager
    def lend(self) -> Iterator[Grow]:
        """Lend bytes to one request, and take them all back at the end."""
        taken, ended = 0, False

        def grow(count: int) -> None:
            nonlocal taken
            with self._lock:
                if taken + count > self.most:
                    raise Refusal(
                        "body_too_large",
                        f"reading and answering it takes more than the {self.most:,} bytes that all requests have",
                    )
                # A thread can still be reading the body of a request that was given up.
                if ended or self.held + count > self.most:
                    raise Refusal(
                        "overloaded",
                        "the bodies of other requests take all memory that is set aside",
                        {"Retry-After": "1"},
                    )
                taken += count
                self.held += count

        try:
            yield grow
        finally:
            with self._lock:
                ended = True
                self.held -= taken
