"""Render self-contained HTML pages with charts, and measure test results, counts, memory, engines and kernels."""
