"""OpenKE folders: files of ids."""

from pathlib import Path

from mmkgc.components.dataset.readers import openke
from mmkgc.components.ingest.converters.base import Converter, Wishes
from mmkgc.components.ingest.converters.companions import add_companions
from mmkgc.components.ingest.converters.draft import Draft


class OpenKE(Converter):
    """A folder with ``entity2id.txt``, ``relation2id.txt``, ``train2id.txt`` and ``test2id.txt``."""

    rank = 15
    needs = f"an OpenKE folder ({openke.NEEDS})"

    def recognises(self, source: Path, wishes: Wishes) -> bool:
        """Whether the files of the vocabularies are there."""
        return source.is_dir() and all((source / name).is_file() for name in openke.FILES[:3])

    def read(self, source: Path, wishes: Wishes, name: str) -> Draft:
        """Read the ids, by the same rules as ``mmkgc run`` reads such a folder, and what lies beside them."""
        raw = openke.read(source)
        draft = Draft(name, str(source))
        draft.licence, draft.source = raw.card.licence, raw.card.source or draft.source
        for key in raw.entities.keys:
            draft.entity(key, source / openke.ENTITIES)
        for key in raw.relations.keys:
            draft.relation(key, source / openke.RELATIONS)
        for split, part in {"train": raw.train, "valid": raw.valid, "test": raw.test}.items():
            if part is not None:
                draft.extend(split, part.triples)
        add_companions(draft, (path for path in source.iterdir() if path.is_file() and path.name not in raw.files))
        return draft
