from collections.abc import Sequence

from platform_kit.contract.access import Scope
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


class ModelNotFound(Problem):
    status, title = 404, "Model not found"

    def __init__(self) -> None:
        super().__init__("There is no such model, or it is not yours to see.")


class VersionNotFound(Problem):
    status, title = 404, "Model version not found"


class NotDeployed(Problem):
    status, title = 409, "Model is not deployed"


class InvalidInput(Problem):
    status, title = 422, "Invalid input"


class NotAvailable(Problem):
    status, title = 422, "Not available"


class Malformed(Problem):
    status, title = 400, "Malformed request"


class TooLarge(Problem):
    status, title = 413, "Request too large"


class NotJson(Problem):
    status, title = 415, "Not JSON"


class ModelUnavailable(Unavailable):
    code = "model_unavailable"


class ControlPlaneAway(Unavailable):
    code = "control_plane_unavailable"

    def __init__(self) -> None:
        super().__init__(
            "The platform cannot say who you are, or what this model is, right now; please try again."
        )
