"""Converts any error to one sentence and an exit code; every command ends through ``runtime.command``."""

import errno
import os
import re
from collections.abc import Iterator

from pydantic import ValidationError

from mmkgc.components.runtime.errors import StepFailed, UserError
from mmkgc.components.runtime.quoting import masked, printable
from mmkgc.components.runtime.settings import DEBUG

BAD_INPUT, FAILED = 2, 1
LONGEST, END = 1000, 300
"""Maximum characters of a sentence, and characters kept from the end; the middle of a longer one is cut."""
DOCTOR = "`mmkgc doctor` says what can be reached"
MENDS = {
    errno.ENOSPC: "free some space, or set MMKGC_HOME to another disk",
    errno.EDQUOT: "free some space, or set MMKGC_HOME to another disk",
    errno.EROFS: "set MMKGC_HOME to a folder that can be written",
    errno.EACCES: "set MMKGC_HOME to a folder that can be written, or change the permissions",
    errno.EPERM: "set MMKGC_HOME to a folder that can be written, or change the permissions",
    errno.ENOTDIR: "a file is where a folder has to be: move it, or set MMKGC_HOME to another folder",
    errno.EEXIST: "a file is where a folder has to be: move it, or set MMKGC_HOME to another folder",
    errno.ENAMETOOLONG: "use shorter names, or set MMKGC_HOME to a folder with a shorter path",
    errno.EMFILE: "raise the limit of open files (`ulimit -n`)",
    errno.EADDRINUSE: "end the program that uses the port, or choose another one",
    errno.EADDRNOTAVAIL: "give an address of this machine",
}
"""How to fix errors of the operating system."""
CAUSE = re.compile(r"\b[\w.]*(?:Error|Exception): .+")
ERROR_LINE = re.compile(r"^(?:[\w.]+\.)?\w*(?:Error|Exception|Interrupt|Exit|Failure)\b")


def told(error: Exception) -> tuple[str, int]:
    """One printable sentence about ``error``, without passwords, and the exit code."""
    sentence, code = _sentence(error)
    sentence = printable(masked(" ".join(sentence.split())))
    if len(sentence) > LONGEST:
        sentence = f"{sentence[: LONGEST - END]} … {sentence[-END:]}"
    return sentence, code


def _sentence(error: Exception) -> tuple[str, int]:
    match error:
        case UserError():
            return str(error), BAD_INPUT
        case ValidationError():
            first = error.errors()[0]
            place = ".".join(map(str, first["loc"])) or error.title
            return str(UserError(place, first["msg"].removeprefix("Value error, "))), BAD_INPUT
        case OSError() if error.errno is not None:
            return _of_system(error), FAILED
        case StepFailed():
            return _of_step(error), FAILED
    return _of_others(error), FAILED


def _of_system(error: OSError) -> str:
    where = error.filename2 or error.filename or "the operating system"
    assert error.errno is not None
    if error.errno == errno.ENOENT and error.filename is None:  # of getcwd
        return str(UserError("the working folder", "it does not exist any more", "change to another one"))
    return str(UserError(where, error.strerror or os.strerror(error.errno), MENDS.get(error.errno, "")))


def _of_step(error: Exception) -> str:
    """The last line of a step's traceback, and the path of its log."""
    first, *lines = str(error).splitlines()
    causes = [line for line in lines if ERROR_LINE.match(line)]
    cause = causes[-1] if causes else "no error was told"
    log = next((line for line in reversed(lines) if line.startswith("the whole log: ")), "")
    number = re.search(r"\[Errno (\d+)\]", cause)
    mend = MENDS.get(int(number[1]), "") if number else ""
    return f"{first}: {cause} — {'; '.join(filter(None, (mend, log)))}"


def _of_others(error: Exception) -> str:
    """Errors of services and libraries: the name of the service and the first line of its message."""
    for cause in _causes(error):
        if isinstance(cause, OSError) and cause.errno in MENDS:
            return _of_system(cause)
    kind, lines = type(error), [line for line in str(error).splitlines() if line.strip()] or ["no further word"]
    if of_database := DATABASE.search(str(error)):
        mend = next((MENDS[number] for words, number in DATABASE_WORDS.items() if words in of_database[1]), DOCTOR)
        return str(UserError("the database", of_database[1], mend))
    origin = f"{kind.__module__}.{kind.__name__}"
    for package, where, mend in SERVICES:
        if origin.startswith(package):
            causes = [found[0] for line in lines[1:] if (found := CAUSE.search(line))]
            return str(UserError(where, "; ".join([lines[0], *causes[-1:]]), mend))
    mend = f"this should not happen: add --debug (or {DEBUG}=1) to see where it comes from, and report it"
    return str(UserError(kind.__name__, lines[0], mend))


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The chain of causes and contexts of an error."""
    seen: set[int] = set()
    behind = error.__cause__ or error.__context__
    while behind is not None and id(behind) not in seen:
        seen.add(id(behind))
        yield behind
        behind = behind.__cause__ or behind.__context__


DATABASE = re.compile(r"\((?:sqlite3|psycopg2?(?:\.errors)?|pymysql\.err|MySQLdb)\.\w+\) ([^\n]+)")
"""A database's message inside an error of SQLAlchemy or MLflow."""
DATABASE_WORDS = {"disk is full": errno.ENOSPC, "readonly database": errno.EROFS, "unable to open": errno.EACCES}
SERVICES = (
    ("mlflow.", "MLflow", DOCTOR),
    ("sqlalchemy.", "the database", DOCTOR),
    ("sqlite3.", "the database", DOCTOR),
    ("requests.", "the network", DOCTOR),
    ("httpx.", "the network", DOCTOR),
    ("botocore.", "the store", "check MMKGC_STORAGE and the AWS_* variables: `mmkgc doctor`"),
    ("kfp", "Kubeflow Pipelines", ""),
    ("optuna.", "the search", ""),
    ("mmkgc.serving.torchserve.server.ServerError", "TorchServe", "add --debug to see the end of its log"),
    ("mmkgc.serving.api.client.", "the gateway", "`mmkgc serve` starts one"),
)
"""Package that raises an error, name of the service, and how to fix it."""
