"""Links of included files lead to the page that includes their target; where there is none, their text stays."""

import re
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
LINK = re.compile(r"(?<!!)\[([^\]]+)\]\((?!\w+:|#)([^)#\s]+)[^)]*\)")


def on_page_markdown(markdown: str, page: Any, config: Any, files: Any) -> str:
    """Keep links to pages and, for the strict check, to nothing; of a link to any other file its text stays."""

    def kept(link: re.Match[str]) -> str:
        target = (Path(config.docs_dir) / page.file.src_uri).parent / link[2]
        path = target.resolve()
        if path.is_relative_to(Path(config.docs_dir).resolve()) or not path.exists():
            return link[0]
        page_of = PAGES.get(path.relative_to(ROOT).as_posix())
        return f"[{link[1]}]({page_of})" if page_of and "/" not in page.file.src_uri else link[1]

    return LINK.sub(kept, markdown)


PAGES = {
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "extending.md",
    "README.md": "index.md",
    "components/dataset/countries/README.md": "countries.md",
    "components/ingest/README.md": "own-graph.md",
    "components/propose/README.md": "proposals.md",
    "infra/README.md": "cluster.md",
    "pipeline/recipes/README.md": "recipes.md",
    "serving/README.md": "serving.md",
}
"""The page that includes each file."""
