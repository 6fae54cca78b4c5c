"""From the bytes of a file to pixels or numbers: what `hdlif run` and the data sets read alike, within stated limits.

No file is trusted. What a file is not, or has too much of, is `Unreadable`; whoever reads it for a purpose says in an
error of its own which file it was and what belongs there.
"""

MOST_BYTES = 2**28
"""The largest image or array file that is read: 256 MiB."""


class Unreadable(ValueError):  # noqa: N818 - not an error that anybody sees
    """What is wrong with the bytes of a file, in words that follow its name.

    Args:
        text_in: the column of a table that has something else than numbers, by its name or else its number from 1; None
            where something else is wrong.
    """

    def __init__(self, said: str, *, text_in: str | None = None) -> None:
        super().__init__(said)
        self.text_in = text_in
