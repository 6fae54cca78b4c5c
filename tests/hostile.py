"""What nobody writes by accident, for tests of whatever reads files: values, names and files; and how it is refused."""

import struct
import zlib

NAMES = {
    "empty": "",
    "here": ".",
    "above": "..",
    "folders above": "../../victim",
    "absolute": "/tmp/victim",
    "a folder below": "a/b",
    "a backslash": "..\\victim",
    "NUL": "a\0b",
    "a line break": "a\nb",
    "a terminal's colour": "\x1b[31m",
    "a C1 control": "a\x9bb",
    "reversed text": "a\u202eb",
    "half a surrogate pair": "a\ud800",
    "too long": "x" * 256,
    "too long in bytes": "é" * 128,
}
"""Names that are no single, printable component of a path."""

VALUES: list[object] = [
    None,
    True,
    False,
    0,
    -1,
    1,
    10**6,
    10**9,
    2**31,
    2**63,
    -(2**63) - 1,
    10**400,
    0.0,
    -0.0,
    -0.5,
    1e-320,
    1e308,
    float("nan"),
    float("inf"),
    float("-inf"),
    "",
    "3",
    ".",
    "../../victim",
    "a\0b",
    "\x1b[2J\x07",
    "\ud800",
    "x" * 10_000,
    "é" * 300,
    "__class__",
    [],
    {},
    [[]],
    [None],
    [-1],
    [10**6],
    [10**9] * 3,
    [1] * 3000,
    ["a", 1, None],
    {"": 1},
    {"kind": None},
    {"kind": "\x1b]0;x\x07"},
    {"kind": "hdlif", "kind\0": 1},
    {"a": {"b": {"c": [1, {"d": None}]}}},
    {1: 2},
    b"bytes",
    {1, 2},
    1j,
]
"""Of every type, out of every range."""

YAML = [
    "!!bool maybe",
    "!!int x",
    "!!int 0x1F",
    "!!int 1:30",
    "!!float x",
    "!!null x",
    "!!timestamp x",
    "!!timestamp 2020-01-01",
    "!!binary aGk=",
    "!!binary é",
    "!!set {a, b}",
    "!!omap [a: 1]",
    "!!pairs [a: 1]",
    "!!str [a]",
    "!!seq {a: 1}",
    "!!map [a]",
    "!!map a",
    "!!seq a",
    "!!int [1]",
    "!!python/object/apply:os.getcwd []",
    "!!python/name:os.getcwd",
    "!mine 3",
    "! 3",
    "!<tag:yaml.org,2002:bool> maybe",
    "!<" + "x" * 3000 + "> 3",
    "1" * 5000,
    "-" + "9" * 5000,
    "1" * 5000 + ".0",
    "1e" + "9" * 3000,
    "1e999",
    ".nan",
    "-.inf",
    "9223372036854775808",
    "[" * 5000,
    "[" * 5000 + "]" * 5000,
    "{a: " * 5000,
    "- " * 5000 + "a",
    "? " * 500 + "a",
    "&a [*a]",
    "[&a x, *a]",
    "*a",
    "{<<: {a: 1}}",
    "{!!merge <<: {a: 1}}",
    "{a: 1, a: 2}",
    "{'a': 1, \"\\x61\": 2}",
    "{[a]: 1}",
    "{{a: 1}: 1}",
    "{1: a}",
    "{null: a}",
    "{true: a}",
    '"\\ud800"',
    '{"\\ud800": 1}',
    '"\\ud83d\\ude00"',
    '"\\U00110000"',
    '"\\UFFFFFFFF"',
    '"\\x1b[31m"',
    '{"\\x1b[31m\\0\\r\\n": 1}',
    '"a\\0b"',
    "'" + "x" * 9000 + "'",
    "%YAML 9.9\n---\n3",
    "--- 1\n--- 2",
    "...",
    "a: b: c",
    "\t",
    "`",
    "@a",
    "\ufeff3",
    "a\ufeff",
    "\u2028",
    "| \n  a\n  b",
    "|99\n a",
    ">-\n",
    "%TAG ! tag:x,2000:\n--- !y 1",
    "=",
    "<<",
    "~",
]
"""What PyYAML takes for something else than a plain tree, or stumbles over."""


def one_printable_line(error: BaseException) -> str:
    """Return the message of an error of ours, which is one printable line, and not a long one."""
    kind, text = type(error).__name__, str(error)
    assert text.strip(), f"{kind} without a message"
    assert text.isprintable(), f"{kind} is not a printable line: {text!r}"
    assert len(text) < 2000, f"{kind} of {len(text)} characters: {text[:200]}"
    return text


def jpeg_of_scans(side: int, scans: int, *, segments: int = 0, end: bytes = b"") -> bytes:
    """A grey progressive JPEG file: each scan but the first passes over all coefficients and changes none."""

    def segment(marker: int, body: bytes) -> bytes:
        return struct.pack(">BBH", 0xFF, marker, len(body) + 2) + body

    def table(place: int, symbol: int) -> bytes:
        return segment(0xC4, bytes([place, 1, *[0] * 15, symbol]))

    blocks = (-(-side // 8)) ** 2
    # A run of 2^14 + 2^14 - 1 blocks: the symbol's bit, 0, and 14 that are 1.
    runs = "011111111111111" * -(-blocks // (2**15 - 1))
    passed = int(runs + "1" * (-len(runs) % 8), 2).to_bytes(-(-len(runs) // 8), "big").replace(b"\xff", b"\xff\0")
    first = segment(0xDA, bytes([1, 1, 0, 0, 0, 0])) + bytes(-(-blocks // 8))
    return b"".join(
        [
            *(b"\xff\xd8", segment(0xE1, b"\xff\xda" * 999), segment(0xFE, b"") * segments),
            *(
                segment(0xDB, bytes([0, *[1] * 64])),
                segment(0xC2, struct.pack(">BHHBBBB", 8, side, side, 1, 1, 0x11, 0)),
            ),
            *(table(0x00, 0x00), table(0x10, 0xE0), first),
            *[segment(0xDA, bytes([1, 1, 0, 1, 63, 0])) + passed] * (scans - 1),
            b"\xff\xd9" + end,
        ]
    )


def tiff_of_one_tile(side: int, tile: int, rows: int = 0) -> bytes:
    """A grey TIFF file of side x side pixels in one tile of `rows` (by default tile) x tile."""
    rows = rows or tile
    data, count = zlib.compress(bytes(tile * rows)), 11
    # width, height, bits, compression, black is 0, samples, planes; width, height, place and size of the tile
    tags = {256: side, 257: side, 258: 8, 259: 8, 262: 1, 277: 1, 284: 1, 322: tile, 323: rows}
    tags |= {324: 8 + 2 + 12 * count + 4, 325: len(data)}
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items())
    return b"II*\0" + struct.pack("<IH", 8, count) + entries + bytes(4) + data
