"""The container image that every pipeline step runs in."""

import os

IMAGE = os.environ.get("MMKGC_IMAGE", "mmkgc:0.2.0")
"""Image of the components, read when the pipeline is compiled; ``MMKGC_IMAGE`` names a cluster's own, by digest."""
