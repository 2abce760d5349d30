"""Every ``mmkgc …`` of the documents is a command that there is, with options that it has."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from mmkgc.pipeline.cli import mmkgc
from mmkgc.pipeline.cli.bench_scale import scale
from tests.test_docs import ROOT, documents

PAST = ("CHANGELOG.md", "docs/benchmarks/log.md")  # their commands need not be there any more
FILES = [path for path in documents() if str(path.relative_to(ROOT)) not in PAST] + [ROOT / "infra" / "compose.yaml"]
CODE = re.compile(r"```[a-z]*\n(.*?)```|^((?:    [^\n]*\n)+)|`([^`\n]+)`|^#(   [^\n]*)$", re.DOTALL | re.MULTILINE)
END = {"|", "||", "&&", "&", ";", ">", ">>", "<"}


def commands(text: str) -> Iterator[list[str]]:
    """The words after each ``mmkgc`` in code, up to the end of the command."""
    for found in CODE.finditer(text):
        for line in re.sub(r"\\\n", " ", next(filter(None, found.groups()))).splitlines():
            lexer = shlex.shlex(line, posix=True, punctuation_chars=";&|<>")
            lexer.commenters = "#"
            try:
                words = list(lexer)
            except ValueError:  # an apostrophe: this is prose or another language
                continue
            for place, word in enumerate(words):
                if word == "mmkgc" and (place == 0 or words[place - 1] in END or "=" in words[place - 1]):
                    rest = words[place + 1 :]
                    yield rest[: next((index for index, each in enumerate(rest) if each in END), len(rest))]


def faults(words: list[str]) -> list[str]:
    """What a command line asks for that there is not."""
    command: click.Command = mmkgc
    while isinstance(command, click.Group) and words and re.fullmatch(r"[a-z-]+", words[0]):
        name, *words = words
        context = click.Context(command)
        if name not in command.list_commands(context):
            return [f"no command {name}"]
        command = command.get_command(context, name) or command
    if command.name == "bench" and words[:1] == [scale.name]:
        command = scale
    options = {name for each in command.params for name in (*each.opts, *each.secondary_opts)} | {"--help", "-h"}
    given = [word.partition("=")[0] for word in words if re.match(r"--?[a-z]", word)]
    return [f"no option {each} of {command.name}" for each in given if each not in options | {"--version"}]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_the_commands_of_a_document_exist(path: Path) -> None:
    assert {" ".join(words): told for words in commands(path.read_text()) if (told := faults(words))} == {}


def test_commands_are_found_and_faults_are_seen() -> None:
    here = list(commands((ROOT / "infra" / "README.md").read_text()))
    assert ["schedule", "cron", "countries", "0 3 * * *"] in here
    assert ["doctor", "--cluster"] in here
    assert ["run", "countries", "--no-serve"] in list(commands((ROOT / "infra" / "compose.yaml").read_text()))
    assert faults(["submit", "countries", "--no-such"]) == ["no option --no-such of submit"]
    assert faults(["schedule", "never"]) == ["no command never"]
    assert faults(["nothing"]) == ["no command nothing"]
