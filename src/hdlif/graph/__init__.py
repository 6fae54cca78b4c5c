"""Graphs of deployed networks: the graph and its checks, ops, equations, the model file. Never imports torch."""
