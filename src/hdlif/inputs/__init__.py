"""Convert the bytes of files to pixels or numbers, for `hdlif run` and the data sets, within stated limits.

No file is trusted. Callers convert `Unreadable` to an error with the file name and the accepted content.
"""

MOST_BYTES = 2**28
"""The largest accepted image or array file: 256 MiB."""


class Unreadable(ValueError):  # noqa: N818 - not an error that anybody sees
    """A fault in the bytes of a file; the message continues after its name.

    Args:
        text_in: the column of a table that has text instead of numbers, by its name or its number from 1.
    """

    def __init__(self, said: str, *, text_in: str | None = None) -> None:
        super().__init__(said)
        self.text_in = text_in
