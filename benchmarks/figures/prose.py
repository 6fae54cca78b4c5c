"""Figures in prose that are computed from more than one value of a record."""
