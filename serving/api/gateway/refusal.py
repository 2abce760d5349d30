"""The exception for refused requests, with one JSON format for all of them."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from fastapi import HTTPException
from fastapi.responses import JSONResponse


class Refusal(HTTPException):
    """A request is refused with an HTTP status; it may be retried after ``retry_after`` seconds.

    This is an ``HTTPException``, because FastAPI turns other errors raised while a body is read into status 400.
    """

    def __init__(
        self, status: int, code: str, message: str, retry_after: float | None = None, nearest: Sequence[Any] = ()
    ) -> None:
        super().__init__(status, message)
        self.code, self.retry_after, self.nearest = code, retry_after, nearest

    def response(self, further: Mapping[str, str] | None = None) -> JSONResponse:
        """The refusal as a JSON response, with ``further`` headers."""
        headers = dict(further or {})
        if self.retry_after is not None:
            headers["retry-after"] = str(max(1, math.ceil(self.retry_after)))
        if self.status_code == 401:
            headers["www-authenticate"] = "Bearer"
        error = {"code": self.code, "message": self.detail, "nearest": list(self.nearest)}
        return JSONResponse({"error": error}, self.status_code, headers)
