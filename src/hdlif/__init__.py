"""HD-LIF spiking networks: online training in constant memory, and low-bit deployment without PyTorch."""


def __getattr__(name: str) -> str:
    """`__version__`, looked up when it is asked for: reading the metadata takes a tenth of a small run's time."""
    if name != "__version__":
        raise AttributeError(f"module 'hdlif' has no attribute {name!r}")
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("hdlif")
    except PackageNotFoundError:  # imported from a source tree that is not installed
        return "0+unknown"
