"""Graphs of deployed networks: graph, checks, ops, equations and model file. This package never imports torch."""
