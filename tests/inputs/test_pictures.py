"""Which image files are read, how, what a network takes of them, and that the rest is refused."""

import io
import os
import struct
import subprocess
import sys
import threading
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, features

from cases import every, naming
from hdlif.inputs import Unreadable, pictures
from hdlif.inputs.fitting import fitted, framed
from hdlif.inputs.pictures import FORMATS, MOST_PIXELS, MOST_SCANS, MOST_SIDE, decode
from hostile import jpeg_of_scans, tiff_of_one_tile
from mutations import mutations

PIXELS = np.random.default_rng(0).integers(0, 256, (6, 5, 3), dtype=np.uint8)


def encoded(image: Image.Image, name: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, name, **options)
    return file.getvalue()


def array(content: bytes, mode: str = "RGB") -> np.ndarray:
    return np.asarray(decode(content, mode))


@every(name=sorted(set(FORMATS.values())))
def test_each_format_is_read_and_damaged_files_of_it_are_read_or_refused(name: str) -> None:
    content = encoded(Image.fromarray(PIXELS), name, **({"lossless": True} if name == "WEBP" else {}))
    with Image.open(io.BytesIO(content)) as image:
        expected = np.asarray(image.convert("RGB"))
    np.testing.assert_array_equal(array(content), expected)
    if name not in ("GIF", "JPEG"):
        np.testing.assert_array_equal(expected, PIXELS)
    for damaged in mutations(encoded(Image.fromarray(PIXELS), name), 100):
        with warnings.catch_warnings(action="error"), suppress(Unreadable):
            assert decode(damaged, "RGB").mode == "RGB"


@every(name=["AVIF", "DDS", "ICO", "JPEG2000", "PCX", "QOI", "SGI", "TGA", "EPS", "ICNS", "MSP"])
def test_other_formats_are_refused_though_pillow_reads_them(name: str) -> None:
    if name == "AVIF" and not features.check("avif"):
        return
    mode = "1" if name == "MSP" else "RGB"
    content = encoded(Image.fromarray(PIXELS).resize((32, 32)).convert(mode), name)
    with pytest.raises(Unreadable, match="it is damaged, or not one of BMP, GIF, JPEG"):
        decode(content, "RGB")


def png(width: int, height: int, rows: bytes, *, depth: int = 8, colour: int = 0) -> bytes:
    def chunk(kind: bytes, content: bytes) -> bytes:
        check = zlib.crc32(kind + content)
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", check)

    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def test_promised_sizes_beyond_the_limits_are_refused_before_they_take_memory() -> None:
    for width, height in ((MOST_PIXELS // 1000 + 1, 1000), (1, MOST_SIDE + 1), (2**31 - 1, 2**31 - 1), (2**31 - 1, 1)):
        with pytest.raises(Unreadable, match=rf"it is {height}x{width}; at most|exceeds limit"):
            decode(png(width, height, b""), "L")
    assert decode(png(1, MOST_SIDE, bytes(2 * MOST_SIDE)), "L").size == (1, MOST_SIDE)
    # Of a TIFF file its tiles too.
    np.testing.assert_array_equal(array(tiff_of_one_tile(16, 64), "L"), np.zeros((16, 16)))
    with pytest.raises(Unreadable, match="it is 16x65536; at most"):
        decode(tiff_of_one_tile(16, MOST_SIDE + 1, rows=16), "L")


@every(name=["GIF", "WEBP", "TIFF", "PNG"])
def test_the_first_of_several_frames_is_read(name: str) -> None:
    frames = [Image.new("RGB", (4, 3), (value, value, value)) for value in (50, 100, 150)]
    content = encoded(frames[0], name, save_all=True, append_images=frames[1:])
    assert np.abs(array(content, "L").astype(int) - 50).max() <= 2


def test_orientation_transparency_and_profiles_are_dropped_and_bits_beyond_8_cut() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    np.testing.assert_array_equal(array(encoded(Image.fromarray(PIXELS), "PNG", exif=exif)), PIXELS)
    cmyk = encoded(Image.new("CMYK", (4, 3), (255, 0, 0, 0)), "TIFF")
    np.testing.assert_array_equal(array(cmyk), np.full((3, 4, 3), (0, 255, 255)))
    rows = b"\0" + np.array([[0x12FF, 0x8000, 0xFF01]], ">u2").tobytes()
    np.testing.assert_array_equal(array(png(1, 1, rows, depth=16, colour=2)), [[[0x12, 0x80, 0xFF]]])
    np.testing.assert_array_equal(array(encoded(Image.fromarray(np.array([[True, False]])), "PNG"), "L"), [[255, 0]])
    clear = np.concatenate([PIXELS, np.zeros((6, 5, 1), np.uint8)], axis=2)
    np.testing.assert_array_equal(array(encoded(Image.fromarray(clear), "PNG")), PIXELS)
    palette = Image.fromarray(PIXELS).quantize(8)
    opaque = np.asarray(palette.convert("RGB"))
    with warnings.catch_warnings(action="error"):
        np.testing.assert_array_equal(array(encoded(palette, "PNG", transparency=bytes([0, 128, 255]))), opaque)


def test_grey_of_more_than_8_bits_is_refused() -> None:
    for content in (
        png(1, 1, b"\0\x12\x34", depth=16),
        *(encoded(Image.fromarray(pixels), "TIFF") for pixels in (np.float32([[0.5]]), np.int32([[70000]]))),
        b"P5 1 1 65535\n\x12\x34",
    ):
        with naming(content), pytest.raises(Unreadable, match="expected 8 bits per channel"):
            decode(content, "L")


def test_libraries_say_nothing_on_standard_error_by_themselves(tmp_path: Path) -> None:
    damaged = bytearray(encoded(Image.fromarray(PIXELS), "TIFF", compression="tiff_adobe_deflate"))
    damaged[12:40] = bytes(28)
    # The tag of samples per pixel, of which Pillow's log tells.
    tag = b"\x15\x01\x03\x00\x01\x00\x00\x00"
    many = encoded(Image.fromarray(PIXELS), "TIFF").replace(tag + b"\x03\x00", tag + b"\x99\x99")
    for name, content in (("damaged", bytes(damaged)), ("many", many)):
        (tmp_path / name).write_bytes(content)
    code = (
        "import sys\nfrom pathlib import Path\nfrom hdlif.inputs import Unreadable, pictures\n"
        "for name in sys.argv[1:]:\n    try: pictures.decode(Path(name).read_bytes(), 'RGB')\n"
        "    except Unreadable: print('refused', file=sys.stderr)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, "damaged", "many"], cwd=tmp_path, capture_output=True, text=True)
    assert done.stderr == "refused\nrefused\n"


def test_threads_that_decode_leave_standard_error_and_warnings_as_they_were() -> None:
    content = encoded(Image.new("RGB", (32, 32)), "TIFF")
    before, filters = os.fstat(2), list(warnings.filters)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: array(content), range(200)))
    after = os.fstat(2)
    assert (after.st_dev, after.st_ino) == (before.st_dev, before.st_ino)
    assert warnings.filters == filters


def test_a_jpeg_of_more_scans_or_segments_than_are_read_is_refused_before_it_is_decoded() -> None:
    # Those of a thumbnail, and what follows the end, are not scans of the image.
    for content in (jpeg_of_scans(16, MOST_SCANS, end=b"\xff\xda" * 999), jpeg_of_scans(16, 2, segments=999)):
        np.testing.assert_array_equal(array(content, "L"), np.full((16, 16), 128))
    for words, content in (
        ("more than 100 scans", jpeg_of_scans(16, MOST_SCANS + 1)),
        ("more than 4,096 segments", jpeg_of_scans(16, 2, segments=4096)),
    ):
        for read in (pictures.header, array):
            with naming(words, read), pytest.raises(Unreadable, match=words):
                read(content)


def test_decoding_ends_between_two_parts_of_the_content_and_holds_up_no_other_thread() -> None:
    content = encoded(Image.fromarray(np.tile(PIXELS, (400, 400, 1))), "BMP")
    reads, begun, other = 0, threading.Event(), threading.Event()

    def ended() -> bool:
        nonlocal reads
        reads += 1
        if reads == 5:
            begun.set()
            assert other.wait(30)
        return reads > 5

    with ThreadPoolExecutor(1) as pool:
        ending = pool.submit(decode, content, "RGB", ended=ended)
        assert begun.wait(30)
        np.testing.assert_array_equal(array(encoded(Image.fromarray(PIXELS), "PNG")), PIXELS)
        other.set()
        with pytest.raises(Unreadable, match="decoding was stopped"):
            ending.result()
    assert reads == 6


RAMP = np.arange(4 * 8, dtype=np.uint8).reshape(4, 8)


def test_squash_keeps_all_of_a_picture_and_crop_its_middle_whatever_its_proportions() -> None:
    def nearest(fit: str) -> np.ndarray:
        return fitted(Image.fromarray(RAMP), (1, 2, 2), resize="nearest", fit=fit)[0]

    # Of the columns 0..7 the middle of each half; of the columns 2..5 likewise.
    np.testing.assert_array_equal(nearest("squash"), RAMP[np.ix_([1, 3], [2, 6])])
    # Channels come first, and what has the right size is taken as it is.
    colours = np.random.default_rng(0).integers(0, 256, (4, 8, 3), dtype=np.uint8)
    for fit in ("squash", "crop"):
        pixels = fitted(Image.fromarray(colours), (3, 4, 8), resize="bilinear", fit=fit)
        np.testing.assert_array_equal(pixels, colours.transpose(2, 0, 1))
    np.testing.assert_array_equal(nearest("crop"), RAMP[np.ix_([1, 3], [3, 5])])
    for size in ((1, 50), (50, 1), (7, 3), (33, 32), (1, 1)):
        pixels = fitted(Image.new("RGB", size, (10, 20, 30)), (3, 5, 4), resize="bilinear", fit="crop")
        np.testing.assert_array_equal(pixels, np.broadcast_to(np.array([10, 20, 30])[:, None, None], (3, 5, 4)))


def test_rows_and_pixels_are_shown_one_a_step_from_the_top() -> None:
    x = np.arange(2 * 3 * 4, dtype=np.float32).reshape(2, 3, 4)
    for frames, shown in (("constant", x[None]), ("rows", x.transpose(1, 0, 2)), ("pixels", x.reshape(2, 12).T)):
        np.testing.assert_array_equal(framed(x, frames).squeeze(), shown.squeeze())
    assert framed(x, "rows").shape == (3, 2, 1, 4)
    assert framed(x, "pixels").shape == (12, 2, 1, 1)
