"""How many small faults in the mathematics the tests of its room catch.

    python benchmarks/mutation_score.py [--sample 200] [--seed 0] [--out FILE]

Mutants of `functional/` and `learning/` are made by cosmic-ray, a seeded sample of them is taken, and each is run
against the tests of its own room alone, in a copy of the tree. Prints the score and every survivor.
"""

import argparse
import importlib.util
import os
import random
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from recorded import write_record

ROOMS = ("functional", "learning")
BARE = """
import sys
sys.meta_path[:] = [finder for finder in sys.meta_path if "Redirecting" not in type(finder).__name__]
"""
"""Leaves out the finder of an editable install, which would import the package of the tree at hand."""
IRRELEVANT = ("core/RemoveDecorator", "core/ExceptionReplacer")
"""Operators that change no equation."""


def mutate(tree: Path, room: str, count: int, seed: int) -> list[dict[str, Any]]:
    """Run `count` mutants of a room in `tree`; what became of each."""
    config, session = tree / f"{room}.toml", tree / f"{room}.sqlite"
    marks = "not slow and not peers"
    tests = f"{sys.executable} -m pytest -x -q -p no:cacheprovider -m '{marks}' tests/{room}"
    config.write_text(
        f'[cosmic-ray]\nmodule-path = "src/hdlif/{room}"\ntimeout = 900.0\nexcluded-modules = []\n'
        f'test-command = "{tests}"\n[cosmic-ray.distributor]\nname = "local"\n'
    )
    environment = {**os.environ, "PYTHONPATH": f"{tree}{os.pathsep}{tree / 'src'}", "OMP_NUM_THREADS": "1"}
    environment["HDLIF_TEST_SEED"] = str(seed)
    where = [sys.executable, "-c", "import hdlif; print(hdlif.__file__)"]
    imported = subprocess.run(where, env=environment, check=True, capture_output=True, text=True).stdout.strip()
    if not Path(imported).is_relative_to(tree):
        raise SystemExit(f"the tests would import {imported}, and not the mutants in {tree}")

    def cosmic_ray(*arguments: object) -> str:
        command = [sys.executable, "-m", "cosmic_ray.cli", *map(str, arguments)]
        return subprocess.run(command, cwd=tree, env=environment, check=True, capture_output=True, text=True).stdout

    cosmic_ray("init", config, session)
    with sqlite3.connect(session) as database:
        rows = database.execute("select job_id, operator_name from mutation_specs order by job_id").fetchall()
        ordered = database.execute(
            "select job_id from mutation_specs where operator_name not in (?, ?) "
            "order by module_path, operator_name, occurrence",
            IRRELEVANT,
        ).fetchall()
        kept = set(random.Random(seed).sample([job for (job,) in ordered], min(count, len(ordered))))
        for job, _ in rows:
            if job not in kept:
                database.execute("delete from mutation_specs where job_id = ?", (job,))
                database.execute("delete from work_items where job_id = ?", (job,))
    cosmic_ray("exec", config, session)
    with sqlite3.connect(session) as database:
        found = database.execute(
            "select s.module_path, s.operator_name, s.start_pos_row, r.test_outcome, r.diff "
            "from mutation_specs s join work_results r on s.job_id = r.job_id"
        ).fetchall()
    return [
        {"file": file, "operator": operator, "line": line, "killed": "KILLED" in str(outcome).upper(), "diff": diff}
        for file, operator, line, outcome, diff in found
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sample", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    root = Path(__file__).parents[1]
    results: dict[str, list[dict[str, Any]]] = {}
    with tempfile.TemporaryDirectory() as folder:
        tree = Path(folder) / "tree"
        # Mutants are written into the files: never into the tree at hand.
        ignored = shutil.ignore_patterns(".venv", ".git", "build", "runs", "__pycache__")
        shutil.copytree(root, tree, ignore=ignored)
        (tree / "sitecustomize.py").write_text(BARE)
        native = importlib.util.find_spec("hdlif._native")
        assert native is not None
        assert native.origin is not None
        shutil.copy(native.origin, tree / "src" / "hdlif")
        for room in ROOMS:
            results[room] = mutate(tree, room, arguments.sample // len(ROOMS), arguments.seed)
    for room, mutants in results.items():
        killed = sum(mutant["killed"] for mutant in mutants)
        print(f"{room}: {killed} of {len(mutants)} mutants killed ({killed / len(mutants):.1%})")
        for mutant in mutants:
            if not mutant["killed"]:
                print(f"  {mutant['file']}:{mutant['line']} {mutant['operator']}\n{mutant['diff']}")
    if arguments.out:
        record = {"sample": arguments.sample, "seed": arguments.seed, "rooms": results}
        write_record(arguments.out, record, seeds=[arguments.seed])


if __name__ == "__main__":
    main()
