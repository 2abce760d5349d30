"""The small dataset folder."""

from tests.components.nordic import built, storage, write_openke, write_tsv

__all__ = ["built", "storage", "write_openke", "write_tsv"]
