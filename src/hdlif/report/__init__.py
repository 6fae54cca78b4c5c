"""Self-contained HTML pages, their charts, and measurements: test sets, counts, memory, engines and kernels."""
