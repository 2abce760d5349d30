"""The boundary of every command: an error becomes one sentence on stderr and an exit code."""

import logging
import os
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import click

from mmkgc.components.runtime.extras import required
from mmkgc.components.runtime.settings import DEBUG, variable


@contextmanager
def command(name: str) -> Iterator[None]:
    """The context of the command ``name``: exit code 2 after invalid input, 1 after any other error.

    The traceback is shown only with ``--debug``, or if ``MMKGC_DEBUG`` is set, which the option does.
    """
    logging.raiseExceptions = False  # a log that cannot be written (the disk is full) prints no traceback
    try:
        with required():
            yield
    except Exception as error:
        from mmkgc.components.runtime import failures

        sentence, code = failures.told(error)
        if variable(DEBUG):
            traceback.print_exc()
        click.secho(f"{name}: {sentence}", fg="red", err=True)
        sys.exit(code)


def debug_option() -> click.Option:
    """The option ``--debug``, which sets ``MMKGC_DEBUG`` for this process and those that it starts."""

    def switch(context: click.Context, option: click.Parameter, value: Any) -> None:
        if value:
            os.environ[DEBUG] = "1"

    shows = f"Show the traceback of an error ({DEBUG}=1)."
    return click.Option(["--debug"], is_flag=True, expose_value=False, callback=switch, help=shows)
