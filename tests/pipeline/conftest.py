"""A graph small enough for a whole run within a test: cities and countries, two flags, a few sentences."""

import pytest
from PIL import Image

from tests.services.kubeflow.fixtures import cluster, kubeflow, s3_endpoint  # noqa: F401

COUNTRIES = {f"c{index}": f"Country {index}" for index in range(8)}
CITIES = {f"t{index}": f"City {index}" for index in range(8)}


@pytest.fixture(scope="session")
def write_dataset():
    """Write the small graph into a folder."""

    def write(folder):
        folder.mkdir(parents=True)
        rows = [f"{key}\t{name}\tA place called {name}." for key, name in (COUNTRIES | CITIES).items()]
        images = ["red.png", "blue.png"] + [""] * (len(rows) - 2)
        lines = [f"{row}\t{image}" for row, image in zip(rows, images, strict=True)]
        (folder / "entities.tsv").write_text("\n".join(["key\tname\tdescription\timage", *lines]) + "\n")
        (folder / "relations.tsv").write_text("key\tname\nborders\tborders\nin\tlies in\n")
        for image in ("red", "blue"):
            Image.new("RGB", (32, 24), image).save(folder / f"{image}.png")
        borders = [(f"c{i}", "borders", f"c{j}") for i in range(8) for j in range(8) if i != j]
        lies_in = [(f"t{i}", "in", f"c{i}") for i in range(8)]
        splits = {"test": borders[::9], "valid": borders[1::9], "train": lies_in}
        splits["train"] += [triple for triple in borders if triple not in splits["test"] + splits["valid"]]
        for split, triples in splits.items():
            text = "\n".join("\t".join(triple) for triple in [("head", "relation", "tail"), *triples])
            (folder / f"{split}.tsv").write_text(text + "\n")
        return folder

    return write
