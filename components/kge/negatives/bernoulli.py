"""Bernoulli corruption."""

from mmkgc.components.kge.negatives.uniform import Uniform


class Bernoulli(Uniform):
    """Replace the head with probability tph/(tph + hpt), so that one-to-many relations get fewer false negatives.

    Wang et al. 2014 (TransH), section "Reducing False Negative Labels". Statistics are of train only.
    """

    sides = "bernoulli"
