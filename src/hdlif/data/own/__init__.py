"""Data of the user's own: what lies at a path is looked at, and `found.Found` says what is there."""
