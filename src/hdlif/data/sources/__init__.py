"""Where samples come from: one file per source, which lists them or loads them."""
