"""Settings of a gateway: limits and API keys."""

import contextlib
import os
import secrets
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from mmkgc.components.runtime.errors import UserError
from mmkgc.components.runtime.settings import Settings, variable
from mmkgc.serving.api.cost import MAX_COST
from mmkgc.serving.api.gateway.access import SHORTEST_KEY, KeyFile

PREFIX = "MMKGC_GATEWAY_"
KEYS_FILE, KEYS = "MMKGC_API_KEYS_FILE", "MMKGC_API_KEYS"
WEBHOOK_SECRET = "MMKGC_WEBHOOK_SECRET"


class Limits(BaseModel):
    """Limits of the gateway; each can be set by the environment variable ``MMKGC_GATEWAY_<NAME>``."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    max_body: int = Field(16_000_000, gt=0, description="bytes of a request")
    max_cost: int = Field(
        MAX_COST, gt=0, description="of a request's queries, see `mmkgc.serving.api.cost`; a plain one costs 1"
    )
    queries_per_second: float = Field(20_000, gt=0, description="of one API key, on average, by their cost")
    burst: int = Field(40_000, gt=0, description="cost of the queries of one API key at once")
    max_waiting: int = Field(16_384, gt=0, description="cost of one key's waiting queries; more are refused with 429")
    per_call: int = Field(256, gt=0, description="queries that are sent to the model at once")
    call_cost: int = Field(
        512, gt=0, description="cost of the queries that are sent at once: a third of a second of work"
    )
    streams: int = Field(8, gt=0, description="streamed requests of one key at a time; more are refused with 429")
    workers: int = Field(1, gt=0, description="of the model: as many calls at a time, and one more if it is full")
    max_connections: int = Field(1000, gt=0, description="open at once; further ones are closed")
    header_seconds: float = Field(10, gt=0, description="in which a request's headers have to come")
    body_seconds: float = Field(60, gt=0, description="in which a request's body has to come")
    timeout: float = Field(30, gt=0, description="seconds until a request is given up")

    @classmethod
    def from_env(cls) -> "Limits":
        """The defaults, overridden by environment variables. Raises UserError for a value that is no limit."""
        return _from_env(cls)


class Public(BaseModel):
    """What the gateway lets in beyond clients with a key; each is an environment variable ``MMKGC_GATEWAY_<NAME>``."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    origins: str = Field(
        "",
        pattern=r"^((https?://[^\s,/]+|\*)(,\s*|$))*$",
        description="sites whose pages may call the API (CORS), such as https://app.example.org, separated by commas",
    )
    description: bool = Field(False, description="whether /openapi.json needs no key")

    @classmethod
    def from_env(cls) -> "Public":
        """The defaults, overridden by environment variables. Raises UserError for a value that is none."""
        return _from_env(cls)

    @property
    def sites(self) -> list[str]:
        """The origins one by one."""
        return [site.strip() for site in self.origins.split(",") if site.strip()]


Environment = TypeVar("Environment", Limits, Public)


def _from_env(kind: type[Environment]) -> Environment:
    given = {name: variable(PREFIX + name.upper()) for name in kind.model_fields}
    try:
        return kind.model_validate({name: value for name, value in given.items() if value is not None})
    except ValidationError as failure:
        error = failure.errors()[0]
        name = str(error["loc"][0])
        where, field = f"{PREFIX}{name.upper()}={given[name]}", kind.model_fields[name]
        default = f"{field.default:,}" if isinstance(field.default, int | float) else repr(field.default)
        raise UserError(where, error["msg"], f"the default is {default}: {field.description}") from failure


def read_keys() -> list[str]:
    """API keys: the lines of the file ``MMKGC_API_KEYS_FILE`` (a mounted secret), else the comma-separated
    ``MMKGC_API_KEYS``. Keys of a file can be changed while the gateway runs.

    Raises UserError if there is no key, or one is shorter than 16 characters.
    """
    if file := variable(KEYS_FILE):
        return KeyFile(Path(file).expanduser(), partial(_keys_of, mend="make one with `openssl rand -hex 16`"))
    return _checked((variable(KEYS) or "").split(","), KEYS, "set it to one or several")


def own_keys() -> list[str]:
    """Keys of the environment, else this user's key, which is created once and stored in ``$MMKGC_HOME/api-key``."""
    if variable(KEYS_FILE) or variable(KEYS):
        return read_keys()
    path = Settings.from_env().home / "api-key"
    if not path.exists():
        _make_key(path)
    return KeyFile(path, partial(_keys_of, mend="delete the file: the next start makes another key"))


def webhook_secret() -> str | None:
    """The secret that signs MLflow's webhooks: of ``MMKGC_WEBHOOK_SECRET``, else of ``$MMKGC_HOME/webhook-secret``.

    None if there is neither. Raises UserError if it is shorter than 16 characters.
    """
    if given := variable(WEBHOOK_SECRET):
        if len(given) < SHORTEST_KEY:
            what = f"the secret is shorter than {SHORTEST_KEY} characters"
            raise UserError(WEBHOOK_SECRET, what, "make one with `openssl rand -hex 16`")
        return given
    path = _webhook_file()
    return _keys_of(path, "delete the file, and call `mmkgc webhook add` again")[0] if path.exists() else None


def own_webhook_secret() -> str:
    """``webhook_secret``, which is made if there is none."""
    if (found := webhook_secret()) is None:
        _make_key(_webhook_file())
        found = webhook_secret()
    assert found is not None
    return found


def _webhook_file() -> Path:
    return Settings.from_env().home / "webhook-secret"


def _make_key(path: Path) -> None:
    """Write a new key atomically; an existing file, such as that of a parallel process, is kept."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with NamedTemporaryFile("w", dir=path.parent, prefix=f".{path.name}-") as file:  # only its owner may read it
        file.write(secrets.token_hex(16) + "\n")
        file.flush()
        os.fsync(file.fileno())
        with contextlib.suppress(FileExistsError):
            os.link(file.name, path)


def _keys_of(path: Path, mend: str) -> list[str]:
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeError) as error:
        raise UserError(path, f"the API keys cannot be read: {error}", mend) from error
    return _checked(lines, path, mend)


def _checked(lines: Iterable[str], where: Path | str, mend: str) -> list[str]:
    keys = [line.strip() for line in lines if line.strip()]
    if not keys:
        raise UserError(where, "no API key is given, and the gateway needs one", mend)
    if any(len(key) < SHORTEST_KEY for key in keys):
        raise UserError(where, f"an API key is shorter than {SHORTEST_KEY} characters", mend)
    return keys
