"""Sources of samples, each in its own module.

Each shipped data set has a function that loads it. Each source of the user's own data is a subclass of
`hdlif.data.own_data.Request`, whose fields are recipe keys. The method `find` of each request returns a data set. The
base classes `OfImages`, `OfSounds` and `OfEvents` read images, audio and event-camera data.

To support a new type of data, edit at most three modules. Add a `Request` subclass to `hdlif.data.sources`, and add its
recipe keys and its detection to `hdlif.recipe.builders.own_kinds`. If necessary, add a decoder to `hdlif.inputs`. To
read a new type of data from shards, extend `shards.KINDS`.
"""
