import io

from mmkgc.pipeline.runners.display import Display
from mmkgc.pipeline.runners.local import Follower

KFP_LOG = """\
05:51:01.100 - INFO - Running pipeline: \x1b[95m'demo'\x1b[0m
05:51:01.200 - INFO - Task ingest cache hit (key=0123456789ab); skipping execution.
05:51:01.300 - INFO - Executing task \x1b[96m'extract-textual'\x1b[0m
    Traceback (most recent call last):
05:51:09.300 - INFO - Task \x1b[96m'extract-textual'\x1b[0m finished with status \x1b[91mFAILURE\x1b[0m
"""


def test_what_the_training_says_of_its_time_is_shown(tmp_path, capsys):
    with Display(["train"], tmp_path) as display:
        follower = Follower(io.StringIO(), display)
        follower.write("    train needs about 1 GB\n    train: about 5 s an epoch, at most 1 min for 12 epochs\n")
    assert capsys.readouterr().err.splitlines() == ["       train: about 5 s an epoch, at most 1 min for 12 epochs"]


def test_the_log_of_kfp_becomes_one_line_a_step(tmp_path, capsys):
    log = io.StringIO()
    with Display(["ingest", "extract textual"], tmp_path) as display:
        follower = Follower(log, display)
        for start in range(0, len(KFP_LOG), 7):  # output arrives in pieces
            follower.write(KFP_LOG[start : start + 7])
    shown = capsys.readouterr().err.splitlines()
    assert shown[0].startswith("= 1/2 ingest")
    assert shown[1].startswith("✗ 2/2 extract textual")
    assert len(shown) == 2
    assert log.getvalue() == KFP_LOG
    assert display.current == "extract textual"
