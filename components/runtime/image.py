"""The container image that every pipeline step runs in."""

import os

IMAGE = os.environ.get("MMKGC_IMAGE", "mmkgc:0.1.0")
"""Image of the components, read when the pipeline is compiled; a cluster's registry path or digest goes into ``MMKGC_IMAGE``."""
