"""Run the commands that matter, for real, and draw what a terminal shows of it as an animated SVG.

    python benchmarks/terminal_cast.py [--out docs/images/terminal.svg]

The commands run in a shell, in a temporary folder, with the `hdlif` of this Python. What they write to standard output
is drawn as it is, of each the first `MOST_LINES` lines, cut at the right edge. A wait is drawn as long as it was, up to
`MOST_WAIT` seconds. The picture follows the colours of the reader, light or dark, moves by CSS alone, and shows its
last state where nothing moves.
"""

import argparse
import os
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.sax.saxutils import escape

COMMANDS = (
    (
        "a spiking network with weights of 1.5 bits and spikes of 4, trained online",
        "hdlif train digits_hdlif_w1p5_s4_parallel --memory-repeats 0 --out digits",
    ),
    ("how good it is after each of its time steps", "hdlif eval digits"),
    ("one file that needs no PyTorch", "hdlif export digits --out digits.hdlif.safetensors"),
    ("what it says of a picture", "hdlif run digits.hdlif.safetensors digit.png"),
    (
        "what a picture costs: operations and energy, counted",
        "hdlif profile digits.hdlif.safetensors --data digits --counting honest | grep -e energy -e total",
    ),
)
"""Remarks and commands; digit.png, a test image of the digits, is in the folder."""
COLUMNS, MOST_LINES = 118, 2
MOST_WAIT = 2.0
KEY_SECONDS, REST_SECONDS, END_SECONDS = 0.03, 0.8, 6.0
"""Of a character that is typed, after an output, and of the whole at the end."""
WIDTH, HEIGHT, MARGIN, HEAD = 7.4, 19, 18, 34
"""Pixels of a character and a line, around them, and of the bar above."""
STYLE = """
svg { --back: #fcfcfb; --bar: #ececea; --edge: #d0d0cc; --text: #24292f; --faint: #6e7781; --prompt: #116329; }
@media (prefers-color-scheme: dark) {
  svg { --back: #15181d; --bar: #22262e; --edge: #343a44; --text: #e4e6ea; --faint: #8b949e; --prompt: #7ee787; }
}
text { font: 12.3px ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", monospace; white-space: pre; }
text { fill: var(--text); }
.remark, .title { fill: var(--faint); }
.prompt { fill: var(--prompt); font-weight: bold; }
.typed { font-weight: bold; }
@media (prefers-reduced-motion: reduce) { * { animation: none !important; } }
"""


@dataclass(frozen=True)
class Ran:
    """A command as it went: what was written, line by line, and how long it took."""

    remark: str
    command: str
    lines: tuple[str, ...]
    seconds: float


def run(remark: str, command: str, folder: Path) -> Ran:
    """Run a line of a shell in `folder`, which must end well."""
    shell = f'set -euo pipefail; hdlif() {{ {shlex.quote(sys.executable)} -m hdlif "$@"; }}; {command}'
    start = time.perf_counter()
    done = subprocess.run(["bash", "-c", shell], cwd=folder, stdout=subprocess.PIPE, text=True, check=True)
    seconds = time.perf_counter() - start
    lines = done.stdout.rstrip("\n").split("\n")
    shown = lines if len(lines) <= MOST_LINES else [*lines[: MOST_LINES - 1], "…"]
    return Ran(remark, command, tuple(shown), seconds)


def record(commands: Sequence[tuple[str, str]]) -> list[Ran]:
    """All of them, one after the other, in a folder of their own."""
    from hdlif.cli.tour import draw_picture

    with tempfile.TemporaryDirectory() as made:
        draw_picture(Path(made))
        return [run(remark, command, Path(made)) for remark, command in commands]


def drawn(runs: Sequence[Ran]) -> str:
    """The SVG."""
    # What is drawn, and from which to which second it appears, by being typed or at once.
    rows: list[tuple[str, str, float, float]] = []
    now = 0.5
    for number, one in enumerate(runs):
        if number:
            rows.append(("", "", now, now))
        rows.append(("remark", f"# {one.remark}", now, now))
        typed = len(one.command) * KEY_SECONDS
        rows.append(("typed", one.command, now + 0.4, now + 0.4 + typed))
        now += 0.4 + typed + min(one.seconds, MOST_WAIT)
        rows += [("out", fitted(line), now, now) for line in one.lines]
        now += REST_SECONDS
    whole = now + END_SECONDS
    width = round(2 * MARGIN + COLUMNS * WIDTH)
    height = HEAD + MARGIN + len(rows) * HEIGHT
    parts, styles = [], [STYLE]
    for number, (kind, text, start, end) in enumerate(rows):
        if not text:
            continue
        y = HEAD + MARGIN + number * HEIGHT
        styles.append(moving(number, len(text), start, end, whole))
        if kind == "typed":
            parts.append(f'<g class="r{number}s">{drawn_text("prompt", "$", MARGIN, y)}</g>')
            parts.append(f'<g class="r{number}">{drawn_text(kind, text, MARGIN + 2 * WIDTH, y)}</g>')
            styles.append(moving(f"{number}s", 1, start, start, whole))
        else:
            parts.append(f'<g class="r{number}">{drawn_text(kind, text, MARGIN, y)}</g>')
    dots = "".join(f'<circle cx="{MARGIN + 16 * n}" cy="{HEAD / 2}" r="5" fill="var(--edge)"/>' for n in range(3))
    said = "; ".join(one.command for one in runs)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        f'role="img">\n<title>hdlif in a terminal: {escape(said)}</title>\n<style>{"".join(styles)}</style>\n'
        f'<rect x="0.5" y="0.5" width="{width - 1}" height="{height - 1}" rx="8" fill="var(--back)" '
        f'stroke="var(--edge)"/>\n<path d="M1 {HEAD} v-{HEAD - 9} a8 8 0 0 1 8 -8 h{width - 18} a8 8 0 0 1 8 8 '
        f'v{HEAD - 9} z" fill="var(--bar)"/>{dots}\n' + "\n".join(parts) + "\n</svg>\n"
    )


def fitted(line: str) -> str:
    return line if len(line) <= COLUMNS else line[: COLUMNS - 1] + "…"


def drawn_text(kind: str, text: str, x: float, y: float) -> str:
    """A line whose characters have the width of the grid, whichever font a reader has."""
    length = f'textLength="{len(text) * WIDTH:.1f}" lengthAdjust="spacingAndGlyphs"'
    return f'<text class="{kind}" x="{x:.1f}" y="{y + 4}" xml:space="preserve" {length}>{escape(text)}</text>'


def moving(name: int | str, letters: int, start: float, end: float, whole: float) -> str:
    """The rule by which a row is hidden until `start`, and whole from `end` on, again and again."""
    began, ended = 100 * start / whole, 100 * max(end, start + 0.01) / whole
    steps = f"steps({letters})" if end > start else "step-end"
    return (
        f".r{name} {{ animation: k{name} {whole:.1f}s infinite; }}\n"
        f"@keyframes k{name} {{ 0% {{ clip-path: inset(-5px 100% -5px 0); animation-timing-function: step-end; }} "
        f"{began:.2f}% {{ clip-path: inset(-5px 100% -5px 0); animation-timing-function: {steps}; }} "
        f"{ended:.2f}%, 100% {{ clip-path: inset(-5px 0 -5px 0); }} }}\n"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("docs/images/terminal.svg"))
    arguments = parser.parse_args()
    os.environ.pop("COLUMNS", None)
    runs = record(COMMANDS)
    arguments.out.write_text(drawn(runs), "utf-8")
    print(f"{arguments.out}: {len(runs)} commands, {sum(one.seconds for one in runs):.1f} s")


if __name__ == "__main__":
    main()
