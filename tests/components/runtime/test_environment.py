import os

from mmkgc.components.runtime.environment import environment


def test_variables_have_their_values_of_before_after_the_block_even_if_it_fails(monkeypatch):
    monkeypatch.setenv("GIVEN", "before")
    monkeypatch.delenv("ABSENT", raising=False)
    try:
        with environment({"GIVEN": "within", "ABSENT": "within"}):
            assert os.environ["GIVEN"] == os.environ["ABSENT"] == "within"
            raise ValueError
    except ValueError:
        pass
    assert os.environ["GIVEN"] == "before"
    assert "ABSENT" not in os.environ
