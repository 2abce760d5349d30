"""The kinds of sources, one converter per file."""
