"""Conversion of networks from other libraries to ours, and of our neurons to theirs; libraries are imported lazily."""
