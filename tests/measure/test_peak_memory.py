"""Peak memory of training, measured in processes of its own."""

import sys

import pytest

from hdlif.config import load_recipe
from hdlif.measure.peak_memory import peak_memory


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="the peak is set back on Linux alone")
def test_a_batch_that_lies_apart_is_not_counted() -> None:
    sizes = ["time_steps=1024", "data.batch_size=1000", "rule={kind: stochastic_step}"]
    recipe = load_recipe("sines_conv1d_hdlif", sizes)
    counted, apart = (peak_memory(recipe, repeats=1, threads=1, batch_apart=one) for one in (False, True))
    batch = 4 * 1024 * 1000 * 2
    assert counted - apart > 0.9 * batch
