"""The bundled dataset: every country with its flag; see README.md."""

from mmkgc.components.dataset.countries.build import build

__all__ = ["build"]
