"""The bundled dataset: every country with its flag; see README.md."""

from components.ingest.countries.build import build

__all__ = ["build"]
