"""Logistic regression with an intercept a slot equals the one with a column a slot."""

import torch

from mmkgc.components.kge.evaluation.logistic import fit_logistic, fit_logistic_by_slot


def test_intercepts_by_slot_equal_columns_of_zeros_and_ones():
    random = torch.Generator().manual_seed(0)
    rows, features, n_slots = 500, 3, 7  # slot 6 stays empty
    shared = torch.randn(rows, features, generator=random, dtype=torch.float64)
    slots = torch.randint(n_slots - 1, (rows,), generator=random)
    targets = torch.rand(rows, generator=random, dtype=torch.float64)
    precision, shrinkage = torch.rand(2, n_slots, generator=random, dtype=torch.float64) + 0.1
    columns = torch.nn.functional.one_hot(slots, n_slots).double()
    expected = fit_logistic(torch.cat([shared, columns], 1), targets, torch.cat([precision[:features], shrinkage]))
    weights, intercepts = fit_logistic_by_slot(shared, slots, targets, precision[:features], shrinkage)
    torch.testing.assert_close(torch.cat([weights, intercepts]), expected, rtol=1e-9, atol=1e-9)
