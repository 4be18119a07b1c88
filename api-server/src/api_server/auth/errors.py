from uuid import UUID

from platform_kit.plumbing.problems import Problem

CHALLENGE = {"WWW-Authenticate": "Bearer"}


class KeyMisplaced(Problem):
    status, title, code = 401, "Not signed in", "not_signed_in"

    def __init__(self) -> None:
        super().__init__("An API key is sent as `X-API-Key`, not in `Authorization`.", headers=CHALLENGE)


class NotSignedIn(Problem):
    status, title = 401, "Not signed in"

    def __init__(self) -> None:
        super().__init__(
            "Sign in with POST /api/v1/auth/token and send `Authorization: Bearer <access_token>`, or send an API "
            "key as `X-API-Key`.",
            headers=CHALLENGE,
        )


class CredentialsWrong(Problem):
    """about: whose account it would have been, for the audit log only."""

    status, title = 401, "Credentials wrong"

    def __init__(self, *, about: UUID | None = None) -> None:
        super().__init__("No active account has this name and password.", headers=CHALLENGE)
        self.about = about


class RefreshTokenInvalid(Problem):
    status, title = 401, "Refresh token invalid"

    def __init__(self) -> None:
        super().__init__("This refresh token does not hold (any more); sign in again.", headers=CHALLENGE)


class RoleMissing(Problem):
    status, title = 403, "Role missing"


class ProjectRoleMissing(Problem):
    status, title = 403, "Project role missing"


class ScopeMissing(Problem):
    status, title = 403, "Scope missing"


class KeyIsBound(Problem):
    status, title = 403, "Key is bound"


class SessionNeeded(Problem):
    status, title = 403, "Session needed"

    def __init__(self) -> None:
        super().__init__("No API key may do this; sign in with POST /api/v1/auth/token.")


class RegistrationClosed(Problem):
    status, title = 403, "Registration closed"

    def __init__(self) -> None:
        super().__init__(
            "No accounts are being made here; ask an administrator, who can let invited people in "
            "(REGISTRATION=invitation)."
        )


class InvitationNeeded(Problem):
    status, title = 403, "Invitation needed"

    def __init__(self) -> None:
        super().__init__("Registering needs the code of an `invitation`; ask an administrator for one.")


class InvitationInvalid(Problem):
    status, title = 403, "Invitation invalid"

    def __init__(self, *, is_needed: bool) -> None:
        way_on = (
            "ask an administrator for another one" if is_needed else "leave it out, or ask for another one"
        )
        super().__init__(
            "This `invitation` does not hold: it is unknown, used, revoked, expired, or for another e-mail address; "
            f"{way_on}."
        )


class InvitationUseless(Problem):
    status, title = 422, "Invitation useless"


class RegistrationIsOff(Problem):
    status, title = 409, "Registration is off"

    def __init__(self) -> None:
        super().__init__("Nobody could use it: REGISTRATION is closed. Set it to invitation first.")


class InvitationNotFound(Problem):
    status, title = 404, "Invitation not found"

    def __init__(self) -> None:
        super().__init__("There is no such invitation.")


class ResetTokenInvalid(Problem):
    status, title = 401, "Reset token invalid"

    def __init__(self) -> None:
        super().__init__(
            "This reset token does not hold (any more); ask an administrator for another one.",
            headers=CHALLENGE,
        )


class UserNotFound(Problem):
    status, title = 404, "User not found"

    def __init__(self) -> None:
        super().__init__("There is no such user.")


class LastAdministrator(Problem):
    status, title = 409, "Last administrator"

    def __init__(self) -> None:
        super().__init__("This is the only active administrator; make another one first.")


class ApiKeyNotFound(Problem):
    status, title = 404, "API key not found"

    def __init__(self) -> None:
        super().__init__("You have no such API key.")


class TooManyApiKeys(Problem):
    status, title = 409, "Too many API keys"


class PasswordWeak(Problem):
    status, title = 422, "Password weak"


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


class LoginsThrottled(Problem):
    status, title = 429, "Logins throttled"

    def __init__(self, *, retry_after_seconds: int) -> None:
        super().__init__(
            "Too many wrong passwords came from here; please wait before the next attempt.",
            retry_after_seconds=retry_after_seconds,
        )
