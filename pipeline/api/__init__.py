"""The Python API of ``import mmkgc``: runs, their results, and trained models."""
