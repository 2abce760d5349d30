"""The container image that every pipeline step runs in."""

from mmkgc.components.runtime.settings import variable

IMAGE = variable("MMKGC_IMAGE") or "mmkgc:0.2.0"
"""Image of the components, read when the pipeline is compiled; ``MMKGC_IMAGE`` names a cluster's own, by digest."""
