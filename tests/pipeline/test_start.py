"""What a command imports before it answers; PyTorch, MLflow and kfp take seconds each."""

import json
import subprocess
import sys

import pytest

HEAVY = ("torch", "mlflow", "kfp", "numba", "transformers")
CALL = """
import json, sys
from mmkgc.pipeline.cli import main
sys.argv = ["mmkgc", *sys.argv[2:]]
try:
    main()
finally:
    print(json.dumps([name for name in json.loads({heavy!r}) if name in sys.modules]))
"""


def call(*arguments):
    """Exit code, output, and the heavy modules that were imported."""
    program = CALL.format(heavy=json.dumps(HEAVY))
    command = [sys.executable, "-c", program, "mmkgc", *map(str, arguments)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=200)
    *_, imported = ended.stdout.splitlines()
    return ended.returncode, ended.stdout + ended.stderr, json.loads(imported)


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--help"], 0, "Complete multi-modal knowledge graphs"),
        (["run", "--help"], 0, "Run the whole pipeline of RECIPE"),
        (["list"], 0, "self-adversarial"),
        (["list", "recipes"], 0, "countries"),
        (["run", "countrie"], 2, "did you mean 'countries'?"),
        (["compile", "countrie"], 2, "did you mean 'countries'?"),
        (["search", "countrie"], 2, "did you mean 'countries'?"),
        (["init", "nowhere.csv"], 2, "there is no such file or folder"),
        (["lst"], 2, "did you mean 'list'?"),
        (["runs"], 2, "none is named"),
    ],
)
def test_what_needs_no_model_imports_none_of_the_heavy_packages(arguments, code, said, monkeypatch):
    monkeypatch.delenv("KFP_ENDPOINT", raising=False)
    found, output, imported = call(*arguments)
    assert (found, imported) == (code, [])
    assert said in output


def test_a_refused_folder_imports_none_of_them_and_tells_all_faults_before_anything_is_written(
    write_dataset, tmp_path, monkeypatch
):
    folder = write_dataset(tmp_path / "broken")
    for name, line in {"train": "c0\tborders\tnowhere", "test": "c0\tborders"}.items():
        with (folder / f"{name}.tsv").open("a") as file:
            file.write(line + "\n")
    (folder / "literals.tsv").write_text("key\tattribute\tvalue\nc0\tarea\tlarge\n")
    monkeypatch.setenv("MMKGC_HOME", str(tmp_path / "home"))
    code, output, imported = call("run", folder)
    assert (code, imported) == (2, [])
    faults = [line for line in output.splitlines() if line.startswith("  ✗ ")]
    files = ("train.tsv", "test.tsv", "literals.tsv")
    assert sorted(next(name for name in files if name in line) for line in faults) == sorted(files)
    assert "it has the 3 faults above — mend them and run again" in output
    assert not (tmp_path / "home").exists()
