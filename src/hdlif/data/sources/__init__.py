"""Sources of samples, one file per source.

A function loads each shipped set. For each source of the user's own data, a subclass of `hdlif.data.own_data.Request`
has the keys of a recipe as its settings. The method `find` lists the samples as a `Layout`. The base classes
`OfImages`, `OfSounds` and `OfEvents` read images, audio and event-camera data from folders, shards and data sets.

To add a kind of data, edit at most three files. Add a decoder to `hdlif.inputs` if the format is new, a class here, and
the keys and recognition to `hdlif.recipe.builders.own_kinds`. If shards may contain the data, edit `shards.KINDS`.
"""
