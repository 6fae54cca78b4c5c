"""Tables, figures in prose and plots of the documentation, from the records of `benchmarks/records`.

`make figures` writes them; `python -m figures --check` says which pages and plots differ from their records. A table
stands between two comments, a figure in prose in front of one:

    <!-- figures: runtime -->
    ...
    <!-- end -->

    6.5<!-- = runtime/engines/openvino_int8/latency_ms/median :.1f --> ms

A table or a plot is a function with a name (`tables/`, `plots/`). What a figure in prose is stands in `prose.py`.
"""
