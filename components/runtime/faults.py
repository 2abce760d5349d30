"""Collects the faults of an input, so that a user learns of all of them at once."""

from types import TracebackType

from mmkgc.components.runtime.errors import UserError


class UserErrors(UserError):
    """Several faults of one input; ``errors`` has a UserError for each."""

    def __init__(self, errors: list[UserError]) -> None:
        Exception.__init__(self, f"{len(errors)} faults: " + " | ".join(map(str, errors)))
        self.errors = errors


class Faults:
    """Context that can be entered repeatedly; a UserError in it is kept, and ``refuse`` raises all of them."""

    def __init__(self) -> None:
        self.errors: list[UserError] = []

    def __enter__(self) -> "Faults":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        if not isinstance(error, UserError):
            return False
        self.errors += error.errors if isinstance(error, UserErrors) else [error]
        return True

    def refuse(self) -> None:
        """Raise the UserError that was kept, or UserErrors if there are several; nothing without any."""
        if len(self.errors) == 1:
            raise self.errors[0]
        if self.errors:
            raise UserErrors(self.errors)
