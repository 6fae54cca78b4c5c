"""Networks of other libraries as ours, and our neurons as theirs; each library is imported where it is used."""
