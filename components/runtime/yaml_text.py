"""YAML as users write it: plain values only, and a key that is given twice is an error, not silently the last one."""

from typing import Any

import yaml


class _Loader(yaml.SafeLoader):
    """PyYAML's loader of plain values, which refuses repeated keys."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key, _ in node.value:
            name = getattr(key, "value", None)
            if isinstance(name, str) and key.tag != MERGE:
                if name in seen:
                    raise yaml.constructor.ConstructorError(
                        None, None, f"the key '{name}' is given twice", key.start_mark
                    )
                seen.add(name)
        return super().construct_mapping(node, deep)


MERGE = "tag:yaml.org,2002:merge"  # of `<<`, which adds the keys of another mapping


def load(text: str) -> Any:
    """The value of a YAML document. Raises YAMLError, and ValueError, TypeError or RecursionError for odd values."""
    return yaml.load(text, _Loader)
