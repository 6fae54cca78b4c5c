"""Where samples come from, one file per source.

A set that ships has a function that loads it. Data of the user's own have a class of `hdlif.data.own_data.Request`,
whose settings are the keys of a recipe and whose `find` lists the samples as a `Layout`. What reads images, sounds or
recordings of a layout is a base class (`OfImages`, `OfSounds`, `OfEvents`), for a folder, a shard or a data set in
Python alike.

A new kind of data is at most four files: a decoder in `hdlif.inputs` if its format is new, a class here, its keys in
`hdlif.recipe.builders.own_kinds`, and what recognises it in `data_paths`. A kind that shards may hold is one more row,
in `shards.KINDS`.
"""
