"""The gate's questions: neither they nor their filter hold a test triple."""

from dataclasses import replace

import torch

from mmkgc.components.kge.graph import KnownTriples
from mmkgc.components.register.questions import Contender, shared_questions


def test_no_test_triple_is_among_the_questions_or_in_their_filter(toy_mmkg, toy_bundle):
    """A contaminated validation file, kept for the final filter, holds test triples."""
    graph = replace(toy_mmkg.graph, known=toy_mmkg.graph.test[:20])
    contender = Contender("champion", toy_bundle.model, graph.entities, graph.relations, graph.train)
    questions = shared_questions(graph, (contender,)).graph
    sizes = len(graph.entities), len(graph.relations)
    seen = KnownTriples(torch.cat([questions.selection_triples, questions.valid, questions.known]), *sizes)
    assert not seen.contains(graph.test).any()
    assert len(questions.valid) == len(graph.valid)
    assert seen.contains(graph.train).all()
