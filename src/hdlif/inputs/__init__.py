"""From the bytes of a file to pixels or numbers, for `hdlif run` and the data sets, within stated limits.

No file is trusted. Callers turn `Unreadable` into an error that names the file and what belongs there.
"""

MOST_BYTES = 2**28
"""The largest image or array file that is read: 256 MiB."""


class Unreadable(ValueError):  # noqa: N818 - not an error that anybody sees
    """A fault in the bytes of a file, in words that follow its name.

    Args:
        text_in: the column of a table that has text instead of numbers, by its name or its number from 1.
    """

    def __init__(self, said: str, *, text_in: str | None = None) -> None:
        super().__init__(said)
        self.text_in = text_in
