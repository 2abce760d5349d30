"""CPU kernels: comparisons of points, rotations and counting of ranks, compiled by numba, which needs no C++ compiler.

Other packages call ``comparison``, ``rotation`` and ``counting``. ``loops`` holds the compiled loops and is imported on
first use, because numba takes half a second to import.
"""
