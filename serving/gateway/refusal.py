"""How the gateway says no: one JSON form for every refusal."""

import math
from collections.abc import Sequence
from typing import Any

from starlette.responses import JSONResponse


class Refusal(Exception):
    """A request is refused with an HTTP status; ``retry_after`` seconds later it may be tried again."""

    def __init__(
        self, status: int, code: str, message: str, retry_after: float | None = None, nearest: Sequence[Any] = ()
    ) -> None:
        super().__init__(message)
        self.status, self.code, self.retry_after, self.nearest = status, code, retry_after, nearest

    def response(self) -> JSONResponse:
        """The refusal as a response."""
        headers = {}
        if self.retry_after is not None:
            headers["retry-after"] = str(max(1, math.ceil(self.retry_after)))
        if self.status == 401:
            headers["www-authenticate"] = "Bearer"
        error = {"code": self.code, "message": str(self), "nearest": list(self.nearest)}
        return JSONResponse({"error": error}, self.status, headers)
