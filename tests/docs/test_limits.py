"""SECURITY.md and docs/how_to/serving.md state the limits that the code has."""

import inspect
from pathlib import Path

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
from hdlif.serve import Settings
from hdlif.serve.protocol import MOST_HEADER_BYTES
from hdlif.serve.streams import OVERHEAD_BYTES
from hdlif.training import checkpoint
from pages import page

SESSION = inspect.signature(Session).parameters


def test_a_limit_is_stated_as_it_is() -> None:
    for words, limit, value in (
        ("| file, value of `--set` | 2^16 bytes", plain_yaml.MOST_BYTES, 2**16),
        ("| lists and mappings in each other | 16", plain_yaml.MOST_DEPTH, 16),
        ("| `name` | 200 bytes", config.MOST_NAME_BYTES, 200),
        ("| `time_steps` | 32767", config.MOST_TIME_STEPS, 32767),
        ("| blocks or layers of a plan; stages | 1000; 16", (model.MOST_LAYERS, model.MOST_STAGES), (1000, 16)),
        ("| parameters and buffers | 2^30", checks.MOST_VALUES, 2**30),
        ("| neurons of a batch | 2^36", checks.MOST_NEURONS, 2**36),
        ("| cells of a table, all seeds together | 10,000", ablate.MOST_CELLS, 10_000),
        ("| record of a checkpoint | 2^20 characters", checkpoint.MOST_RECORD, 2**20),
        ("| metrics.jsonl that a report reads | 2^30 bytes", summary.MOST_METRICS, 2**30),
        ("| data_files.json that a resumed training is compared with | 2^30 bytes", manifest.MOST_BYTES, 2**30),
        ("| other files of a run | 2^26 bytes, 64 levels", (summary.MOST_SUMMARY, summary.MOST_LEVELS), (2**26, 64)),
        ("| file | 2^31 bytes, regular |", files.MAX_FILE_BYTES, 2**31),
        ("| nodes | 2^17 |", graph.MAX_NODES, 2**17),
        ("| entries of a tensor or a value | 2^30 |", graph.MAX_ELEMENTS, 2**30),
        ("`max_bytes`, 2^32 by default", SESSION["max_bytes"].default, 2**32),
        ("`max_operations`, 2^42 by default", SESSION["max_operations"].default, 2**42),
        ("80 million pixels, 65,535 a side", (pictures.MOST_PIXELS, pictures.MOST_SIDE), (80_000_000, 65_535)),
        ("at most 10^7 files and folders are looked at", class_folders.MOST_FILES, 10**7),
    ):
        assert words in (Path(__file__).parents[2] / "SECURITY.md").read_text("utf-8")
        assert limit == value, words


def test_a_limit_of_the_server_is_stated_as_it_is() -> None:
    of_server, text = Settings(), page("how_to/serving")
    for words, limit, value in (
        ("`--max-streams` (0 leaves them out) | 4096", of_server.max_streams, 4096),
        ("4,096 counted for each", OVERHEAD_BYTES, 4096),
        ("`--max-stream-bytes` | 2^28", of_server.max_stream_bytes, 2**28),
        ("`--stream-idle-seconds` | 300", of_server.stream_idle_seconds, 300),
        ("`--max-body-bytes` | 2^24", of_server.max_body_bytes, 2**24),
        ("inputs and answers | | 2^29", of_server.max_bodies_bytes, 2**29),
        ("such as decoding an image | | 10", of_server.read_seconds, 10),
        ("A JPEG of more than 100 scans", pictures.MOST_SCANS, 100),
        ("steps of a request to a stream | | 2^14", of_server.max_steps, 2**14),
        ("`--max-old-bytes` (2^28;", of_server.max_old_bytes, 2**28),
        ("`--max-pixels` | 2^25", of_server.max_pixels, 2**25),
        ("inputs of a request | | 1024", of_server.max_inputs, 1024),
        ("`--max-operations` | 2^30, 2^38", (of_server.max_bytes, of_server.max_operations), (2**30, 2**38)),
        ("that wait | | 2048", of_server.max_waiting, 2048),
        ("headers, bytes (up to 2^12 more if they come at once) | | 2^14", MOST_HEADER_BYTES, 2**14),
        ("`--receive-seconds` | 30", of_server.receive_seconds, 30),
        ("`--send-seconds` | 30", of_server.send_seconds, 30),
        ("`--keep-alive-seconds` | 30", of_server.keep_alive_seconds, 30),
        ("`--max-connections` | 2048", of_server.max_connections, 2048),
        ("`--latency-budget-ms` (2)", of_server.latency_budget_ms, 2),
        ("`--max-batch` (16)", of_server.max_batch, 16),
    ):
        assert words in text
        assert limit == value, words
