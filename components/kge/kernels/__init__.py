"""CPU kernels: comparisons of points and counting of ranks, compiled by numba, which needs no C++ compiler.

``comparison`` and ``ranks`` are what other rooms call; ``loops`` holds the compiled loops and is imported on first use,
because numba takes half a second to import.
"""
