"""Convert the contents of files to pixels or numbers, within fixed limits, for `hdlif run` and data sets.

The readers assume that any file may be damaged or malicious. Callers convert `Unreadable` to an error that shows the
file name and the expected content.
"""

MOST_BYTES = 2**28
"""Maximum size of an image or array file: 256 MiB."""


class Unreadable(ValueError):  # noqa: N818 - not an error that anybody sees
    """An error in the content of a file; callers add the file name to the message.

    Args:
        text_in: the column of a table that contains text instead of numbers, as a name or a number from 1.
    """

    def __init__(self, said: str, *, text_in: str | None = None) -> None:
        super().__init__(said)
        self.text_in = text_in
