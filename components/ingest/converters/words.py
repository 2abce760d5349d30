"""Usual names of the columns of tables of entities, and what they hold."""

import re

WORDS = {
    "key": "key id identifier code uri iri qid wikidata_id imdb_id mid uuid slug node_id nodeid entity entity_id",
    "name": "name title label full_name fullname display_name preferred_label pref_label",
    "description": "description desc plot summary overview abstract text bio biography synopsis definition about "
    "comment note notes tagline caption",
    "image": "image images img picture pictures photo photos poster posters poster_path thumbnail cover logo file "
    "filename image_path image_file photo_path flag",
    "type": "type kind class category_type entity_type instance_of instanceof node_label",
    "attribute": "attribute",
    "value": "value",
}
ROLES = {word: role for role, words in WORDS.items() for word in words.split()}


def plain(column: str) -> str:
    """A column's name in lower case, its words joined by ``_``: ``posterPath`` and ``Poster path`` are the same."""
    parted = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", column.strip().lstrip(":"))
    return re.sub(r"[^\w]+", "_", parted.lower()).strip("_")


def role_of(column: str) -> str | None:
    """What a column of this name usually holds; None if the name does not say."""
    return ROLES.get(plain(column))


def singular(name: str) -> str:
    """One of what a table or column holds many of, by the rules of English: ``films`` → ``film``."""
    if (
        name.lower().endswith("ies")
        and len(name) > 4
        and name.lower() not in ("movies", "series", "species", "cookies")
    ):
        return name[:-3] + "y"
    if name.lower().endswith(("ches", "shes", "sses", "xes")):
        return name[:-2]
    if name.lower().endswith("s") and not name.lower().endswith(("ss", "us", "is", "series", "species")):
        return name[:-1]
    return name
