"""What an operator decides about a gateway."""

import os
import secrets
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from mmkgc.components.runtime.errors import UserError
from mmkgc.components.runtime.settings import Settings, variable

PREFIX = "MMKGC_GATEWAY_"


class Limits(BaseModel):
    """Bounds of the gateway; each can be set as ``MMKGC_GATEWAY_<NAME>``."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    max_body: int = Field(16_000_000, gt=0, description="bytes of a request")
    queries_per_second: float = Field(20_000, gt=0, description="of one API key, on average")
    burst: int = Field(40_000, gt=0, description="queries of one API key at once")
    max_waiting: int = Field(4096, gt=0, description="queries that may wait; more are refused with 429")
    per_call: int = Field(256, gt=0, description="queries that are sent to the model at once")
    workers: int = Field(1, gt=0, description="of the model: as many calls at a time, and one more if it is full")
    timeout: float = Field(30, gt=0, description="seconds until a request is given up")

    @classmethod
    def from_env(cls) -> "Limits":
        """Defaults, changed by the environment."""
        given = {name: variable(PREFIX + name.upper()) for name in cls.model_fields}
        return cls.model_validate({name: value for name, value in given.items() if value is not None})


def read_keys() -> list[str]:
    """API keys: the lines of the file ``MMKGC_API_KEYS_FILE`` (a mounted secret), else ``MMKGC_API_KEYS``, by commas.

    Raises UserError where there is none or one is shorter than 16 characters.
    """
    file = os.environ.get("MMKGC_API_KEYS_FILE")
    text = Path(file).read_text(encoding="utf-8") if file else os.environ.get("MMKGC_API_KEYS", "").replace(",", "\n")
    keys = [line.strip() for line in text.splitlines() if line.strip()]
    where = file or "MMKGC_API_KEYS"
    if not keys:
        raise UserError(where, "no API key is given", "the gateway answers nobody without one")
    if any(len(key) < 16 for key in keys):
        raise UserError(where, "an API key is shorter than 16 characters", "make one with `openssl rand -hex 16`")
    return keys


def own_keys() -> list[str]:
    """Keys of the environment, else this user's own key, made once and kept in ``$MMKGC_HOME/api-key``."""
    if os.environ.get("MMKGC_API_KEYS_FILE") or os.environ.get("MMKGC_API_KEYS"):
        return read_keys()
    path = Settings.from_env().home / "api-key"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(secrets.token_hex(16) + "\n")
    return [path.read_text().strip()]
