"""The ``mmkgc`` command. Each module contains a group of related verbs and is imported on first use."""

import sys
from importlib import import_module

import click

from mmkgc.components.runtime.command import command, debug_option
from mmkgc.components.runtime.errors import UserError, did_you_mean
from mmkgc.components.runtime.loopback import exempt_loopback

VERBS = {
    "init": "init",
    "run": "run",
    "compile": "compile",
    "submit": "submit",
    "runs": "submit",
    "logs": "submit",
    "cancel": "submit",
    "retry": "submit",
    "schedule": "schedule",
    "serve": "serve",
    "webhook": "webhook",
    "complete": "complete",
    "mcp": "mcp",
    "why": "why",
    "search": "search",
    "study": "study",
    "propose": "propose",
    "bench": "bench",
    "compare": "compare",
    "report": "report",
    "promote": "promote",
    "rollback": "promote",
    "features": "features",
    "weights": "weights",
    "extend": "extend",
    "export": "export",
    "gc": "gc",
    "ui": "ui",
    "list": "list",
    "doctor": "doctor",
}
"""Verbs and their modules in ``mmkgc.pipeline.cli``, in the order in which a new user needs them."""


class LazyGroup(click.Group):
    """A group that imports the module of a verb only when the verb or its help is requested."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Verbs in the order of ``VERBS``."""
        return [*VERBS]  # the name `list` is the module of `mmkgc list` here, once that is imported

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the verb's module; the error for an unknown verb suggests the nearest one."""
        if cmd_name not in VERBS:
            raise UserError(f"mmkgc {cmd_name}", "no such command", did_you_mean(cmd_name, VERBS))
        module = import_module(f"mmkgc.pipeline.cli.{VERBS[cmd_name]}")
        return with_debug(getattr(module, cmd_name.replace("list", "list_")))


def with_debug(verb: click.Command) -> click.Command:
    """The verb with the option ``--debug``, also for each of its own verbs."""
    if not any(option.name == "debug" for option in verb.params):
        verb.params.append(debug_option())
    for each in verb.commands.values() if isinstance(verb, click.Group) else ():
        with_debug(each)
    return verb


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="mmkgc")
def mmkgc() -> None:
    """Complete multi-modal knowledge graphs: from images, texts and triples to answered queries.

    \b
    First steps:
      mmkgc run countries                 the whole pipeline on a bundled graph
      mmkgc complete "Norway" borders     ask the model that it promoted
      mmkgc propose                       what else may be true, of the whole graph
      mmkgc ui                            compare runs in MLflow
      mmkgc init films.csv                a dataset folder of your own data: tables, triples, RDF
      mmkgc run path/to/folder            the same on your own graph
    """


with_debug(mmkgc)


def main() -> None:
    """Run the command line. Errors are reported as one sentence on stderr; exit code 2 for invalid input, else 1."""
    exempt_loopback()
    sys.modules["kubernetes_validate"] = None  # type: ignore[assignment]  # kfp's import of kubernetes would load it for seconds
    with command("mmkgc"):
        mmkgc()
