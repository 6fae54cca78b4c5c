"""Run folders: contents, locks and readers."""
