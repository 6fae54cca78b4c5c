"""The .npz format: a zip archive of .npy files, read without NumPy's reader and within stated limits."""

import io
import zipfile
from collections.abc import Collection

from hdlif.errors import brief, reason
from hdlif.inputs import MOST_BYTES, Unreadable

SUFFIX = ".npy"


def parse_archive(content: bytes, names: Collection[str]) -> dict[str, bytes]:
    """The .npy files of those of `names` that an archive has, which has no other.

    Raises:
        Unreadable: it is no archive or is damaged, holds another file, one of more than `MOST_BYTES`, or one twice.
    """
    found: dict[str, bytes] = {}
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            for entry in archive.infolist():
                name = entry.filename.removesuffix(SUFFIX)
                if name not in names or name in found or name == entry.filename:
                    odd = " twice" if name in found else f", which is none of {', '.join(names)}"
                    raise Unreadable(f"it holds {brief(name)}{odd}")
                if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                    # Of LZMA a few bytes may ask for gigabytes to unpack with.
                    raise Unreadable(
                        f"its array {name} is neither stored nor deflated; save it by numpy.savez_compressed"
                    )
                with archive.open(entry) as file:
                    # A few kilobytes can promise any number, and give more than they promise.
                    found[name] = file.read(MOST_BYTES + 1)
                if len(found[name]) > MOST_BYTES:
                    raise Unreadable(f"its array {name} has more than {MOST_BYTES:,} bytes")
    except Unreadable:
        raise
    # What zipfile and its decompressors raise on damaged bytes is of many types.
    except Exception as error:
        raise Unreadable(f"it is not a zip archive as numpy.savez writes one ({reason(error)})") from error
    return found
