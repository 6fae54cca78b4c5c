"""Graphs of deployed networks: graph, checks, ops, equations and model file. Never imports torch."""
