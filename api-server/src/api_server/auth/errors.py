from platform_kit.plumbing.problems import Problem

CHALLENGE = {"WWW-Authenticate": "Bearer"}


class NotSignedIn(Problem):
    status, title = 401, "Not signed in"

    def __init__(self) -> None:
        super().__init__(
            "Sign in with POST /api/v1/auth/token and send `Authorization: Bearer <access_token>`.",
            headers=CHALLENGE,
        )


class CredentialsWrong(Problem):
    status, title = 401, "Credentials wrong"

    def __init__(self) -> None:
        super().__init__("No active account has this name and password.", headers=CHALLENGE)


class RefreshTokenInvalid(Problem):
    status, title = 401, "Refresh token invalid"

    def __init__(self) -> None:
        super().__init__("This refresh token does not hold (any more); sign in again.", headers=CHALLENGE)


class RoleMissing(Problem):
    status, title = 403, "Role missing"


class AccountTaken(Problem):
    status, title = 409, "Account taken"


class PasswordWrong(Problem):
    status, title = 403, "Password wrong"

    def __init__(self) -> None:
        super().__init__("The current password is not the one that was sent.")


class SessionNotFound(Problem):
    status, title = 404, "Session not found"

    def __init__(self) -> None:
        super().__init__("You have no such session.")


class TooManyLogins(Problem):
    status, title = 503, "Too many logins at once"

    def __init__(self) -> None:
        super().__init__(
            "Too many passwords are being checked right now; please try again.", retry_after_seconds=2
        )
