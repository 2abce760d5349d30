"""Compiled loops over float32 arrays; each is used by the file of the same name outside of this folder."""
