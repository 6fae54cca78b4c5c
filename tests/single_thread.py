"""One thread for tests whose tensors are too small to share out, or that compare the bytes of trainings."""

from collections.abc import Iterator

import pytest
import torch


# Of a module, so that its fixtures train with one thread, too.
@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    with pytest.MonkeyPatch.context() as patched:
        # A command would choose the number by timing, here and in the processes that it starts.
        patched.setenv("OMP_NUM_THREADS", "1")
        torch.set_num_threads(1)
        yield
    torch.set_num_threads(before)
