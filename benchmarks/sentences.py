"""Sentences to judge as English: a sample of the prose of pages, and one of docstrings.

    python benchmarks/sentences.py [--count 60] [--seed COMMIT]

The seed is the commit by default, so that nobody chooses the sentences. Code, tables, headings and generated parts are
left out, and sentences of fewer than five words.
"""

import argparse
import ast
import random
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent
LEAST_WORDS = 5
_END = re.compile(r"(?<=[.!?])\s+(?=[A-Z`\"*])")
_NO_PROSE = re.compile(r"^(?:    |\||#|```|---|!\[|\{\{|:::|<|\* \[|>>>|\.\.\.)")


def git(*arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=True).stdout


def sentences(text: str) -> Iterator[str]:
    """Return the sentences of paragraphs and items of lists."""
    text = re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)
    for block in re.split(r"\n\s*\n|\n(?=- |\d+\. )", text):
        lines = [line.rstrip() for line in block.splitlines() if line.strip()]
        if lines and not any(_NO_PROSE.match(line) for line in lines):
            for one in _END.split(" ".join(line.strip() for line in lines).lstrip("- ")):
                if len(one.split()) >= LEAST_WORDS:
                    yield one


def of_pages() -> Iterator[str]:
    for name in git("ls-files", "*.md").split():
        if name != "CHANGELOG.md":
            yield from (f"{name}: {one}" for one in sentences((ROOT / name).read_text(encoding="utf-8")))


def of_docstrings() -> Iterator[str]:
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    for name in git("ls-files", "src/*.py").split():
        for node in ast.walk(ast.parse((ROOT / name).read_text(encoding="utf-8"))):
            if isinstance(node, documented) and (text := ast.get_docstring(node)):
                yield from (f"{name}: {one}" for one in sentences(text))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=60)
    parser.add_argument("--seed", default=git("rev-parse", "HEAD").strip())
    given = parser.parse_args()
    for title, found in (("Pages", of_pages), ("Docstrings", of_docstrings)):
        print(f"{title}, {given.seed}")
        chosen = random.Random(f"{title} {given.seed}").sample(sorted(set(found())), given.count)
        print("\n".join(f"{number}. {one}" for number, one in enumerate(chosen, 1)), end="\n\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
