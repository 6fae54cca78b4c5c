"""Sources of samples, one file per source.

A shipped set has a function that loads it. The user's own data have a subclass of `hdlif.data.own_data.Request`, whose
settings are the keys of a recipe and whose `find` lists the samples as a `Layout`. Readers of images, sounds or
recordings in a layout are base classes (`OfImages`, `OfSounds`, `OfEvents`), used for folders, shards and Python data
sets alike.

A new kind of data is at most three files: a decoder in `hdlif.inputs` if its format is new, a class here, and its keys
and recognition in `hdlif.recipe.builders.own_kinds`. A kind that shards may contain is one more row, in `shards.KINDS`.
"""
