"""Counting: parameters, operations, energy and memory; see `hdlif.report.accounting`."""

from hdlif.report.accounting import *  # noqa: F403
