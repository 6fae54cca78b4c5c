from single_thread import one_thread  # noqa: F401 - an autouse fixture
