from single_thread import one_thread  # noqa: F401 - an autouse fixture; the bytes of a training depend on the threads
