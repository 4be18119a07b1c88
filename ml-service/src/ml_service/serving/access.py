"""Who may ask what: the caller, and what the credential is for, before anything is looked up."""

from contextlib import AbstractContextManager
from dataclasses import dataclass

from starlette.requests import Request

from ml_service.serving.credentials import presented
from ml_service.serving.errors import NotSignedIn, ScopeMissing
from ml_service.serving.principals import Principals
from ml_service.serving.refusals import RefusalReports
from platform_kit.contract.access import Principal, Scope
from platform_kit.plumbing.rate_limits import rate_limits_of


@dataclass(frozen=True)
class Purpose:
    """action: as api-server's audit log names it. scopes: an API key needs one of them."""

    action: str
    scopes: tuple[Scope, ...]


PREDICTING = Purpose("prediction:make", (Scope.PREDICT,))
READING = Purpose("model:read", (Scope.READ, Scope.PREDICT))
"""Who predicts must be able to read what the model wants."""
OPERATING = Purpose("model:operate", (Scope.DEPLOY,))


class Access:
    def __init__(self, principals: Principals, refusals: RefusalReports) -> None:
        self._principals, self._refusals = principals, refusals

    def noting(
        self, request: Request, purpose: Purpose, ref: str | None = None
    ) -> AbstractContextManager[None]:
        """What is refused inside comes into the audit log; ref: the model that is asked for."""
        return self._refusals.noting(request, purpose.action, ref)

    async def caller(self, request: Request) -> Principal | None:
        """Who sends the request; None for somebody who shows no credential.

        Raises NotSignedIn, ControlPlaneAway, TooManyRequests.
        """
        credential = presented(request.headers)
        if credential is None:
            return None
        limits = rate_limits_of(request)
        principal = await self._principals.identify(credential, limits)
        request.state.principal = principal
        await limits.require_principal(str(principal.user_id))
        return principal

    async def require(self, request: Request, purpose: Purpose) -> Principal:
        """Who sends the request, with a credential that is for this. Also raises ScopeMissing."""
        principal = await self.caller(request)
        if principal is None:
            raise NotSignedIn
        if not principal.may(*purpose.scopes):
            raise ScopeMissing(have=principal.scopes or [], need=purpose.scopes)
        return principal
