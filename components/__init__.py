"""The steps of the pipeline and the libraries that they use.

PyTorch uses GNU OpenMP, whose idle threads wait by spinning, by default for 300,000 iterations. That takes many
milliseconds and occupies cores that the threads of the compiled kernels need. OpenMP reads the setting when PyTorch is
imported, so it is set here, before that import. If PyTorch was imported earlier, the default stays: training is slower,
results are the same.
"""

import os

SPINS = "GOMP_SPINCOUNT"

os.environ.setdefault(SPINS, "10000")
