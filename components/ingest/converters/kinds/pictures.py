"""Folders of pictures alone: each is an entity, and belongs to what its folder is called."""

from pathlib import Path

from mmkgc.components.ingest.converters.base import Converter, Wishes
from mmkgc.components.ingest.converters.draft import UNSPLIT, Draft
from mmkgc.components.ingest.converters.pictures import picture_files
from mmkgc.components.ingest.converters.words import singular
from mmkgc.components.runtime.errors import UserError

RELATION, NAME = "in", "is in"


class Pictures(Converter):
    """A folder of folders of pictures: ``owls/archie.png`` says that Archie is in owls."""

    rank = 90
    needs = "a folder of folders of pictures"

    def recognises(self, source: Path, wishes: Wishes) -> bool:
        """Whether there are pictures below the folder."""
        return source.is_dir() and bool(picture_files(source))

    def read(self, source: Path, wishes: Wishes, name: str) -> Draft:
        """An entity a picture and a folder, and a fact that puts each picture into its folders."""
        draft = Draft(name, str(source))
        for path in picture_files(source):
            inside = path.relative_to(source)
            entity = draft.entity(str(inside.with_suffix("")), path)
            draft.names[entity] = inside.stem.replace("_", " ").replace("-", " ")
            draft.types[entity] = "picture"
            draft.pictures.setdefault(entity, []).append(path)
            for parent in [folder for folder in inside.parents if folder.name]:
                group = draft.entity(f"{parent}/", path)
                draft.names[group], draft.types[group] = singular(parent.name.replace("_", " ")), "folder"
                draft.add(UNSPLIT, entity, draft.relation(RELATION), group)
                draft.relation_names[draft.relation(RELATION)] = NAME
        if not len(draft.triples(UNSPLIT)):
            what = "it holds pictures alone, and nothing relates them"
            raise UserError(source, what, "give the table or triples that do, and this folder as --images")
        return draft
