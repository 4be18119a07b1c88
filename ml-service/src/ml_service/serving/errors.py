from collections.abc import Sequence

from platform_kit.contract.access import Role, Scope
from platform_kit.plumbing.problems import Problem, Unavailable

CHALLENGE = {"WWW-Authenticate": "Bearer"}


class NotSignedIn(Problem):
    status, title = 401, "Not signed in"

    def __init__(self) -> None:
        super().__init__(
            "This needs a credential that holds: `Authorization: Bearer <access_token>`, or `X-API-Key`. GET /models "
            "lists what answers without one.",
            headers=CHALLENGE,
        )


class ScopeMissing(Problem):
    status, title = 403, "Scope missing"

    def __init__(self, *, have: Sequence[Scope], need: Sequence[Scope]) -> None:
        scopes = ", ".join(sorted(have)) or "nothing"
        super().__init__(f"This API key is for {scopes}; this needs the scope {' or '.join(need)}.")


class RoleMissing(Problem):
    status, title = 403, "Role missing"

    def __init__(self, have: Role) -> None:
        super().__init__(
            f"You are {have}, and this needs the role {Role.ADMIN}: unload and reload models. "
            "An administrator can give it."
        )


class ModelNotFound(Problem):
    status, title = 404, "Model not found"

    def __init__(self) -> None:
        super().__init__("There is no such model, or it is not yours to see.")


class VersionNotFound(Problem):
    status, title = 404, "Model version not found"


class NotDeployed(Problem):
    status, title = 409, "Model is not deployed"


class AlwaysInMemory(Problem):
    status, title = 409, "Model is always in memory"

    def __init__(self, name: str) -> None:
        super().__init__(f"{name} is part of every process: it is neither unloaded nor loaded again.")


class InvalidInput(Problem):
    status, title = 422, "Invalid input"


class NotAvailable(Problem):
    status, title = 422, "Not available"


class Malformed(Problem):
    status, title = 400, "Malformed request"


class TooLarge(Problem):
    status, title = 413, "Request too large"


class TooSlow(Problem):
    status, title = 408, "Request too slow"


class BrokenOff(Problem):
    """Said to nobody, but counted: whoever asked has gone."""

    status, title = 400, "Request broken off"


class NotJson(Problem):
    status, title = 415, "Not JSON"


class ModelUnavailable(Unavailable):
    code = "model_unavailable"


class Overloaded(Unavailable):
    code = "overloaded"

    def __init__(self) -> None:
        super().__init__(
            "More is asked at the moment than can be answered; please try again.", retry_after_seconds=1
        )


class ControlPlaneAway(Unavailable):
    code = "control_plane_unavailable"

    def __init__(self) -> None:
        super().__init__(
            "The platform cannot say who you are, or what this model is, right now; please try again."
        )
