"""CPU kernels, compiled by numba, which needs no C++ compiler: one file an operation, on PyTorch's tensors.

``loops`` holds their loops over arrays, with one file an operation as well, and what a geometry adds per coordinate
(``geometries``). It is imported on first use, because numba takes half a second to import.
"""
