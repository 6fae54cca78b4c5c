"""Write the test results of shipped recipes, from the records of `experiments.py`, into the headers of the recipes.

    python benchmarks/measured_recipes.py [--check]

The line "# measured: ..." contains the number of parameters, the test metric (the mean over the seeds) and the number
of seeds. Only unchanged recipes count. With --check, nothing is written, and the exit code is 1 if a header differs.
"""

import argparse
import json
import re
import sys
from pathlib import Path
from statistics import mean
from typing import Any

from hdlif.recipe.runs.files import write_text

ROOT = Path(__file__).parent.parent
RECIPES = ROOT / "src/hdlif/recipes"
_AS_IT_STANDS = re.compile(r"hdlif train (\w+) --set seed=\d+ --threads 1 --memory-repeats 1( --data-root DIR)?")


def trainings(records: Path) -> dict[str, list[dict[str, Any]]]:
    """Return the records of the trainings of each recipe."""
    found: dict[str, list[dict[str, Any]]] = {}
    for path in sorted(records.glob("*.json")):
        record = json.loads(path.read_text("utf-8"))
        if as_it_stands := _AS_IT_STANDS.fullmatch(record["command"]):
            found.setdefault(as_it_stands[1], []).append(record)
    return found


def header(records: list[dict[str, Any]]) -> str:
    """Return the line of a recipe's header.

    >>> header([{"parameters": 1234, "metric": "ap50", "metrics": {"ap50": value}} for value in (0.87, 0.88)])
    '# measured: 1,234 parameters, ap50 0.8750, 2 seeds'
    """
    # Records of a classification may have the accuracy alone.
    name = records[0].get("metric", "accuracy")
    value = mean(one["metrics"][name] if "metrics" in one else one[name] for one in records)
    seeds = f"{len(records)} seed{'s' if len(records) > 1 else ''}"
    return f"# measured: {records[0]['parameters']:,} parameters, {name} {value:.4f}, {seeds}"


def with_header(text: str, line: str) -> str:
    """Return a recipe's text with this line after its first one, in place of an earlier one."""
    first, rest = re.sub("^# measured: .*\n", "", text, flags=re.MULTILINE).split("\n", 1)
    return f"{first}\n{line}\n{rest}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true")
    check = parser.parse_args().check
    differ = []
    for name, records in trainings(ROOT / "benchmarks/records/experiments").items():
        path = RECIPES / f"{name}.yaml"
        text = path.read_text("utf-8")
        if (changed := with_header(text, header(records))) != text:
            differ.append(name)
            print(f"{'differs' if check else 'written'}: {name}")
            if not check:
                write_text(path, changed)
    return int(check and bool(differ))


if __name__ == "__main__":
    sys.exit(main())
