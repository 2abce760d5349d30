"""The pipeline's steps and the libraries below them.

GNU OpenMP's threads, which PyTorch uses, wait for their next piece of work by spinning, 300,000 turns by default: many
milliseconds, in which they hold a core that the compiled kernels' own threads need. It reads how long when PyTorch is
imported, thus this stands here; whoever imports PyTorch first keeps the default, with which training is slower and
nothing else changes.
"""

import os

SPINS = "GOMP_SPINCOUNT"

os.environ.setdefault(SPINS, "10000")
