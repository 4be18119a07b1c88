import pytest
from starlette.datastructures import Headers

from ml_service.serving.credentials import Credential, presented
from ml_service.serving.errors import NotSignedIn
from platform_kit.contract.access import CredentialKind

TOKEN = Credential(CredentialKind.BEARER, "a.b-c_d")
KEY = Credential(CredentialKind.API_KEY, "mlp_1")


def headers(*sent: tuple[bytes, bytes]) -> Headers:
    return Headers(raw=list(sent))


class TestPresented:
    def test_without_a_credential_there_is_none(self) -> None:
        assert presented(headers((b"accept", b"*/*"))) is None

    @pytest.mark.parametrize("value", [b"Bearer a.b-c_d", b"bearer a.b-c_d", b"Bearer   a.b-c_d"])
    def test_reads_a_token(self, value: bytes) -> None:
        assert presented(headers((b"authorization", value))) == TOKEN

    @pytest.mark.parametrize("other", [b"Bearer a.b-c_d", b"Basic eA==", b""])
    def test_takes_a_key_before_whatever_else_is_sent(self, other: bytes) -> None:
        assert presented(headers((b"authorization", other), (b"x-api-key", b"mlp_1"))) == KEY

    @pytest.mark.parametrize(
        "value",
        [b"", b"Bearer", b"Bearer ", b"Basic YTpi", b"token", b"Bearer a b", b"Bearer a\tb", b"Bearer a\xff"],
    )
    def test_refuses_an_authorization_that_it_cannot_read(self, value: bytes) -> None:
        with pytest.raises(NotSignedIn):
            presented(headers((b"authorization", value)))

    @pytest.mark.parametrize("value", [b"", b" ", b"a b", b"\x00", b"\xc3\xa9", b"a" * 4097])
    def test_refuses_a_key_that_it_cannot_read(self, value: bytes) -> None:
        with pytest.raises(NotSignedIn):
            presented(headers((b"authorization", b"Bearer a.b-c_d"), (b"x-api-key", value)))

    @pytest.mark.parametrize("name", [b"authorization", b"x-api-key"])
    def test_refuses_two_of_a_kind(self, name: bytes) -> None:
        with pytest.raises(NotSignedIn):
            presented(headers((name, b"Bearer a"), (name, b"Bearer a")))


class TestCredential:
    def test_does_not_show_itself(self) -> None:
        assert "a.b-c_d" not in repr(TOKEN)

    def test_of_another_kind_is_another(self) -> None:
        assert Credential(CredentialKind.API_KEY, TOKEN.text).digest != TOKEN.digest
