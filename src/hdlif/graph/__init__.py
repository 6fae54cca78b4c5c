"""Graphs of deployed networks, with checks, ops, equations and model files. This package never imports torch."""
