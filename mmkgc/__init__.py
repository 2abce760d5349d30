"""Multi-modal knowledge-graph completion, from raw graph to answered queries."""
