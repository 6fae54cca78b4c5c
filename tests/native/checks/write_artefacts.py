"""Writes artefacts to fuzz with: what the fuzzing of Python begins with, and mutations of it.

write_artefacts.py FOLDER COUNT
"""

import random
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "fuzz"))
import fuzz_artefact


def main(folder: Path, count: int) -> None:
    draw, seeds = random.Random(0), list(fuzz_artefact.seeds())
    for i in range(count):
        content = seeds[i % len(seeds)]
        for _ in range(0 if i < len(seeds) else draw.choice((1, 1, 2, 3))):
            content = fuzz_artefact.mutate(content, draw)
        (folder / f"{i}").write_bytes(content)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
