"""HD-LIF spiking networks: online training in constant memory, and low-bit deployment without PyTorch."""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("hdlif")
except PackageNotFoundError:  # imported from a source tree that is not installed
    __version__ = "0+unknown"
