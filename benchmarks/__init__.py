"""What the product must be fast at (DESIGN 8), measured: `make bench`, or `python -m benchmarks` with words of its own.

Figures are ratios to the raw server, taken in the same run on the same machine, wherever the design says so. The product is
measured through its own front doors: what an executor is made of (`shift`), and whole processes that are killed.
"""
