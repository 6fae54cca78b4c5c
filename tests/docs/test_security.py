"""SECURITY.md states the limits that the code has."""

from pathlib import Path

import pytest

from hdlif import config, plain_yaml
from hdlif.builders import model, recipe
from hdlif.commands import ablate
from hdlif.data.own import manifest
from hdlif.report import runs
from hdlif.training import checkpoint

TEXT = (Path(__file__).parents[2] / "SECURITY.md").read_text("utf-8")


@pytest.mark.parametrize(
    ("row", "limit", "value"),
    [
        ("file, value of `--set` | 2^16 bytes", plain_yaml.MOST_BYTES, 2**16),
        ("lists and mappings in each other | 16", plain_yaml.MOST_DEPTH, 16),
        ("`name` | 200 bytes", config.MOST_NAME_BYTES, 200),
        ("`time_steps` | 32767", config.MOST_TIME_STEPS, 32767),
        ("blocks or layers of a plan; stages | 1000; 16", model.MOST_LAYERS, 1000),
        ("blocks or layers of a plan; stages | 1000; 16", model.MOST_STAGES, 16),
        ("parameters and buffers | 2^30", recipe.MOST_VALUES, 2**30),
        ("neurons of a batch | 2^36", recipe.MOST_NEURONS, 2**36),
        ("cells of a table, all seeds together | 10,000", ablate.MOST_CELLS, 10_000),
        ("record of a checkpoint | 2^20 characters", checkpoint.MOST_RECORD, 2**20),
        ("metrics.jsonl that a report reads | 2^30 bytes", runs.MOST_METRICS, 2**30),
        ("data_files.json that a resumed training is compared with | 2^30 bytes", manifest.MOST_BYTES, 2**30),
        ("other files of a run | 2^26 bytes, 64 levels", runs.MOST_SUMMARY, 2**26),
        ("other files of a run | 2^26 bytes, 64 levels", runs.MOST_LEVELS, 64),
    ],
)
def test_a_limit_is_stated_as_it_is(row: str, limit: int, value: int) -> None:
    assert f"| {row}" in TEXT
    assert limit == value
