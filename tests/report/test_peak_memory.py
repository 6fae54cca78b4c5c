"""Peak memory of training, measured in processes of its own."""

import json
import sys

import pytest

from hdlif.recipe import load_recipe
from hdlif.report.peak_memory import peak_memory


@pytest.mark.alone
@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="the peak is set back on Linux alone")
def test_a_batch_that_lies_apart_is_not_counted() -> None:
    steps, batch, channels = 1024, 1000, 2
    found = {
        "digest": "0" * 64,
        "classes": ["one", "two"],
        "input": {"kind": "series", "shape": [channels, steps, 1], "mean": [0.0] * channels, "std": [1.0] * channels}
        | {"resize": "none", "fit": "squash"},
    }
    sizes = [f"time_steps={steps}", f"data.batch_size={batch}", "rule={kind: stochastic_step}"]
    recipe = load_recipe("hapt_hdlif", [*sizes, f"data.found={json.dumps(found)}", "model.widths=[4, 4]"])
    counted, apart = (peak_memory(recipe, repeats=1, threads=1, batch_apart=one) for one in (False, True))
    assert counted - apart > 0.9 * 4 * steps * batch * channels
