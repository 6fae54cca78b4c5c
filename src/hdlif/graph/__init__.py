"""Deployed networks as graphs, with checks, ops, equations and model files. This package never imports torch."""
