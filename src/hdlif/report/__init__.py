"""One self-contained HTML page from the numbers of one run or several."""
