"""Sources of samples, with one file per source.

Each shipped data set has a function that loads it. For the user's own data, each source is a subclass of
`hdlif.data.own_data.Request`, whose fields are recipe keys. The method `find` of each request returns a data set. The
base classes `OfImages`, `OfSounds` and `OfEvents` read images, audio and event-camera data from folders, shards and
data sets.

To support a new type of data, edit at most three files. Add a decoder to `hdlif.inputs` if necessary, a request to
`hdlif.data.sources`, and keys and detection to `hdlif.recipe.builders.own_kinds`. To read a new type of data from
shards, extend `shards.KINDS`.
"""
