"""Compiled counting of ranks; the loop processes the gold answers ``begin…end``."""

# mypy: disable-error-code="no-untyped-def, call-arg"

from mmkgc.components.kge.kernels.loops.machine_code import compiled


@compiled
def count(scores, rows, gold, offsets, answers, better, equal, others, begin, end):
    """Count better, equal and all candidates beside each gold answer; row i's ``answers[offsets[i] : …]`` are none."""
    for g in range(begin, end):
        row, offset, stop = scores[rows[g]], offsets[rows[g]], offsets[rows[g] + 1]
        own = row[gold[g]]
        above, ties, rest = 0, -1, row.size - 1
        for entity in range(row.size):
            above += row[entity] > own
            ties += row[entity] == own
        for p in range(offset, stop):
            if answers[p] != gold[g]:
                above -= row[answers[p]] > own
                ties -= row[answers[p]] == own
                rest -= 1
        better[g], equal[g], others[g] = above, ties, rest
