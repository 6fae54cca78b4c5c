"""Graphs of deployed networks: ops, equations, the model file. Never imports torch."""
