"""Run folders: what a training keeps there, who may write to it, and what is read back."""
