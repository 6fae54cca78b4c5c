"""Where samples come from, one file per source.

A set that ships has a function that loads it. Data of the user's own have a function `find_NAME` that lists samples as
a `hdlif.data.own_data.Layout`, and one that reads them, `find_NAME_in(layout, request)`, which other sources share: a
picture is read alike from a folder, a shard or a data set in Python. Decoders are in `hdlif.inputs`, without PyTorch.

A new kind of data is a decoder in `hdlif.inputs`, a file here, a row of `shards.KINDS` if shards may hold it, and a row
in the table of kinds of recipes.
"""
