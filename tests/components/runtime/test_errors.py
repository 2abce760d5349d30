from mmkgc.components.runtime.errors import UserError, did_you_mean


def test_a_user_error_says_where_what_and_how_to_mend():
    assert (
        str(UserError("train.tsv, line 3", "two columns", "write three"))
        == "train.tsv, line 3: two columns — write three"
    )


def test_the_nearest_name_is_suggested():
    assert did_you_mean("epocs", ["epochs", "seed"]) == "did you mean 'epochs'?"
    assert did_you_mean("RotatE", ["rotate", "transe"]) == "did you mean 'rotate'?"


def test_far_names_are_listed():
    assert did_you_mean("zzz", ["b", "a"]) == "choose one of: a, b"
