"""Which classes trained networks take for which, from their run folders.

    hdlif data get hapt --data-root DIR
    for NAME in hapt_hdlif hapt_hdlif_companded hapt_hdlif_companded_w1p5_s4; do
        hdlif train $NAME --data-root DIR --out runs/$NAME
    done
    python benchmarks/confusions.py runs/hapt_hdlif* --out benchmarks/records/hapt_confusions.json

Of each run: recipe, seed, epochs, test accuracy, the names of the classes, and counts of test samples, a row for each
true class and a column for each that was chosen.
"""

import argparse
import json
from pathlib import Path
from typing import Any

from recorded import write_record


def of_run(folder: Path) -> dict[str, Any]:
    """What `hdlif train` left there."""
    summary, confusion = (json.loads((folder / f"{name}.json").read_text("utf-8")) for name in ("summary", "confusion"))
    recipe = summary["recipe"]
    return {
        "recipe": recipe["name"],
        "seed": summary["seed"],
        "epochs": recipe["training"]["epochs"],
        "accuracy": summary["accuracy"],
        "labels": confusion["labels"],
        "counts": confusion["counts"],
        **{key: summary[key] for key in ("versions", "hardware")},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path, nargs="+")
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    runs = [of_run(folder) for folder in given.runs]
    write_record(given.out, {"runs": runs}, seeds=sorted({run["seed"] for run in runs}))


if __name__ == "__main__":
    main()
