"""One thread, as most tensors here are too small to share out."""

from single_thread import one_thread  # noqa: F401 - an autouse fixture
