"""SECURITY.md states the limits that the code has."""

import inspect
import re
from pathlib import Path

import yaml

from hdlif import config
from hdlif.data import folders as class_folders
from hdlif.data import manifest
from hdlif.graph.artefact import files
from hdlif.graph.ops import graph
from hdlif.inputs import pictures, plain_yaml
from hdlif.recipe.builders import checks, model
from hdlif.recipe.runs import ablation_tables as ablate
from hdlif.recipe.runs import summary
from hdlif.runtime import Session
from hdlif.training import checkpoint

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "SECURITY.md").read_text("utf-8")


def test_a_limit_is_stated_as_it_is() -> None:
    for words, limit, value in (
        ("| file, value of `--set` | 2^16 bytes", plain_yaml.MOST_BYTES, 2**16),
        ("| lists and mappings in each other | 16", plain_yaml.MOST_DEPTH, 16),
        ("| `name` | 200 bytes", config.MOST_NAME_BYTES, 200),
        ("| `time_steps` | 32767", config.MOST_TIME_STEPS, 32767),
        ("| blocks or layers of a plan; stages | 1000; 16", model.MOST_LAYERS, 1000),
        ("| blocks or layers of a plan; stages | 1000; 16", model.MOST_STAGES, 16),
        ("| parameters and buffers | 2^30", checks.MOST_VALUES, 2**30),
        ("| neurons of a batch | 2^36", checks.MOST_NEURONS, 2**36),
        ("| cells of a table, all seeds together | 10,000", ablate.MOST_CELLS, 10_000),
        ("| record of a checkpoint | 2^20 characters", checkpoint.MOST_RECORD, 2**20),
        ("| metrics.jsonl that a report reads | 2^30 bytes", summary.MOST_METRICS, 2**30),
        ("| data_files.json that a resumed training is compared with | 2^30 bytes", manifest.MOST_BYTES, 2**30),
        ("| other files of a run | 2^26 bytes, 64 levels", summary.MOST_SUMMARY, 2**26),
        ("| other files of a run | 2^26 bytes, 64 levels", summary.MOST_LEVELS, 64),
        ("| file | 2^31 bytes, regular |", files.MAX_FILE_BYTES, 2**31),
        ("| nodes | 2^17 |", graph.MAX_NODES, 2**17),
        ("| entries of a tensor or a value | 2^30 |", graph.MAX_ELEMENTS, 2**30),
        ("`max_bytes`, 2^32 by default", inspect.signature(Session).parameters["max_bytes"].default, 2**32),
        ("`max_operations`, 2^42 by default", inspect.signature(Session).parameters["max_operations"].default, 2**42),
        ("80 million pixels, 65,535 a side", (pictures.MOST_PIXELS, pictures.MOST_SIDE), (80_000_000, 65_535)),
        ("at most 10^7 files and folders are looked at", class_folders.MOST_FILES, 10**7),
    ):
        assert words in TEXT
        assert limit == value, words


def test_every_test_and_page_that_is_named_is_there() -> None:
    named = set(re.findall(r"`((?:tests|src)/[\w/.]+)`", TEXT)) | set(re.findall(r"\((docs/[\w/.]+)\)", TEXT))
    assert len(named) > 25
    assert [name for name in named if not (ROOT / name).exists()] == []
    alone = set(re.findall(r"`(test_\w+\.py)`", TEXT))
    assert alone <= {path.name for path in (ROOT / "tests").rglob("test_*.py")}


def test_workflows_pin_each_action_by_its_commit_and_state_their_permissions() -> None:
    for path in (ROOT / ".github/workflows").glob("*.yml"):
        flow = yaml.safe_load(path.read_text("utf-8"))
        assert flow["permissions"] == {"contents": "read"}, path
        for name, job in flow["jobs"].items():
            # Those that publish get what they need in place of it, and do not read the sources.
            rights = job.get("permissions", {})
            assert rights in ({}, {"id-token": "write"}, {"id-token": "write", "pages": "write"}), (path, name)
            assert not rights or job["environment"], (path, name)
            for action in (step["uses"] for step in job["steps"] if "uses" in step):
                assert re.fullmatch(r"[\w/-]+@[0-9a-f]{40}", action), (path, action)
