"""Self-contained HTML pages, their charts, and what they measure: test sets, counts, memory, engines and kernels."""
