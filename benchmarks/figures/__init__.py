"""Tables, figures in prose and plots of the documentation, from the records of `benchmarks/records`.

Pages name tables and figures in prose by macros (`pages.py`). `make figures` draws the plots, and `python -m figures
--check` lists those that differ from their records. A table or a plot is a function with a name (`tables/`, `plots/`).
Figures in prose that are computed from several values are in `prose.py`.
"""
