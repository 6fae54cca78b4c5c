"""Conversion of networks from other libraries, and of our neurons to theirs; each library is imported lazily."""
