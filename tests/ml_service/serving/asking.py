"""Callers, and api-server's word on them, which goes out of date quickly here."""

from ml_service.serving.credentials import Credential
from platform_kit.contract.access import CredentialKind, Introspection, Principal
from tests.ml_service.peer import Peer

TOKEN = Credential(CredentialKind.BEARER, "a-token")
KEY = Credential(CredentialKind.API_KEY, "mlp_1")
FAST = {
    "auth_fresh_seconds": 0.1,
    "auth_positive_seconds": 0.4,
    "auth_denial_seconds": 0.2,
    "auth_timeout_seconds": 0.3,
}


def knows(peer: Peer, who: Principal | None) -> None:
    peer.routes["/introspect"] = lambda _: (200, Introspection(principal=who))
