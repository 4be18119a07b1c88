"""The fence around python-jose: whatever PyJWT refuses, ours refuses; and what neither should take."""

import time
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import httpx2
import jwt as pyjwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from sqlalchemy import select

from api_server.auth.models import Session
from api_server.auth.tokens import AUDIENCE, ISSUER, LEEWAY_SECONDS, TYPE, TokenInvalid, Tokens
from api_server.database import Sessions, transaction
from api_server.settings import Settings
from tests.api_server.auth.forge import LIFETIME_SECONDS, Forge
from tests.api_server.auth.token_cases import FORGED, GOOD, NOT_TEXT, Case
from tests.api_server.factories import SignedIn

SECRET = "a signing key for tests only, of 32 bytes or more"
OLD_SECRET = "the signing key of yesterday, of 32 bytes or more"
USER, SESSION = uuid4(), uuid4()
FORGE = Forge(SECRET, USER, SESSION)
TOKENS = Tokens(SECRET, lifetime_seconds=LIFETIME_SECONDS)


def minted(tokens: Tokens = TOKENS, *, at: datetime | None = None) -> str:
    return tokens.mint(user_id=USER, session_id=SESSION, token_id="t", issued_at=at or datetime.now(UTC))


def pyjwt_takes(token: Any) -> bool:
    try:
        pyjwt.decode(
            token,
            SECRET,
            algorithms=["HS256"],
            audience=AUDIENCE,
            issuer=ISSUER,
            options={"require": ["exp", "iat", "iss", "aud", "sub", "jti"], "strict_aud": True},
        )
    except Exception:
        return False
    return True


def ours_takes(token: Any, tokens: Tokens = TOKENS) -> bool:
    """Anything but TokenInvalid is a failure of the test that asks."""
    try:
        tokens.read(token)
    except TokenInvalid:
        return False
    return True


class TestMint:
    def test_makes_the_same_token_of_the_same_arguments(self) -> None:
        at = datetime(2026, 1, 1, tzinfo=UTC)

        assert minted(at=at) == minted(at=at)

    def test_says_nothing_of_roles(self) -> None:
        body = pyjwt.decode(minted(), options={"verify_signature": False})

        assert set(body) == {"iss", "aud", "sub", "sid", "jti", "iat", "exp"}
        assert pyjwt.get_unverified_header(minted())["typ"] == TYPE

    @pytest.mark.parametrize("secret", ["", "x" * 31])
    def test_refuses_a_short_key(self, secret: str) -> None:
        with pytest.raises(ValueError, match="32 bytes"):
            Tokens(secret, lifetime_seconds=600)
        with pytest.raises(ValueError, match="32 bytes"):
            Tokens(SECRET, previous=secret or "x", lifetime_seconds=600)

    @pytest.mark.parametrize("secret", ["1" * 40, f'"{"k" * 40}"', f'{{"keys": ["{"k" * 40}"]}}', "é" * 20])
    def test_takes_a_secret_for_text_whatever_it_looks_like(self, secret: str) -> None:
        tokens = Tokens(secret, lifetime_seconds=600)

        assert ours_takes(minted(tokens), tokens)
        assert not ours_takes(minted(tokens))


class TestRead:
    def test_takes_what_was_minted(self) -> None:
        read = TOKENS.read(minted())

        left = (read.expires_at - datetime.now(UTC)).total_seconds()
        assert (read.user_id, read.session_id) == (USER, SESSION)
        assert LIFETIME_SECONDS - 5 < left <= LIFETIME_SECONDS

    @pytest.mark.parametrize("case", GOOD, ids=str)
    def test_takes_what_pyjwt_takes_too(self, case: Case) -> None:
        token = case.token(FORGE)

        assert ours_takes(token)
        assert pyjwt_takes(token)

    @pytest.mark.parametrize("case", FORGED, ids=str)
    def test_refuses_what_was_forged(self, case: Case) -> None:
        token = case.token(FORGE)
        started = time.perf_counter()

        assert not ours_takes(token)
        assert time.perf_counter() - started < 0.5

    def test_is_at_least_as_strict_as_pyjwt(self) -> None:
        tokens = {case: case.token(FORGE) for case in [*GOOD, *FORGED]}

        only_ours = [case for case, token in tokens.items() if ours_takes(token) and not pyjwt_takes(token)]

        assert only_ours == []

    @pytest.mark.parametrize("token", NOT_TEXT, ids=repr)
    def test_refuses_what_is_no_text(self, token: object) -> None:
        assert not ours_takes(token)

    def test_allows_for_clocks_a_little_apart_but_not_after_the_end(self) -> None:
        now = datetime.now(UTC)

        assert ours_takes(minted(at=now + timedelta(seconds=LEEWAY_SECONDS - 2)))
        assert not ours_takes(minted(at=now + timedelta(seconds=LEEWAY_SECONDS + 2)))
        assert not ours_takes(minted(at=now - timedelta(seconds=LIFETIME_SECONDS)))

    def test_refuses_a_token_signed_with_a_public_key_as_secret(self) -> None:
        public = (
            rsa.generate_private_key(public_exponent=65537, key_size=2048)
            .public_key()
            .public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
        )

        assert not ours_takes(FORGE.token(key=public))

    def test_refuses_every_token_with_another_byte(self) -> None:
        good = minted()
        for place in range(len(good)):
            for letter in "Az-.=":
                mutant = good[:place] + letter + good[place + 1 :]
                assert mutant == good or not ours_takes(mutant), mutant


TEXT = st.text(st.characters(codec="utf-8"), max_size=8) | st.text("ABCabc019-_.=", max_size=8)


@st.composite
def mutations(draw: st.DrawFn, good: str) -> str:
    """A token with some of it changed, put in, left out, or moved."""
    token = good
    for _ in range(draw(st.integers(1, 4))):
        begin = draw(st.integers(0, len(token)))
        end = draw(st.integers(begin, min(len(token), begin + 8)))
        change = draw(st.sampled_from(["replace", "repeat", "swap parts", "turn", "case"]))
        if change == "replace":
            token = token[:begin] + draw(TEXT) + token[end:]
        elif change == "repeat":
            token = token[:end] + token[begin:]
        elif change == "swap parts":
            token = ".".join(draw(st.permutations(token.split("."))))
        else:
            piece = token[begin:end]
            token = token[:begin] + (piece[::-1] if change == "turn" else piece.swapcase()) + token[end:]
    return token


@pytest.fixture(scope="module")
def good() -> str:
    return minted()


class TestReadOfMutations:
    @given(st.data())
    @hypothesis_settings(max_examples=500, deadline=None)
    def test_takes_only_the_very_same_text(self, good: str, data: st.DataObject) -> None:
        mutant = data.draw(mutations(good))

        assert ours_takes(mutant) == (mutant == good)

    @given(st.data())
    @hypothesis_settings(max_examples=300, deadline=None)
    def test_is_as_strict_as_pyjwt_on_signed_claims(self, data: st.DataObject) -> None:
        """The signature is right, whatever it is that was signed."""
        values = st.none() | st.booleans() | st.integers() | st.floats() | TEXT | st.lists(TEXT, max_size=2)
        name = data.draw(st.sampled_from([*FORGE.claims(), "nbf", "at_hash", "x"]))
        token = FORGE.with_claims(**{name: data.draw(values)})

        assert pyjwt_takes(token) or not ours_takes(token)

    @given(st.text() | st.binary())
    @hypothesis_settings(max_examples=300, deadline=None)
    def test_takes_no_signed_noise(self, noise: str | bytes) -> None:
        raw = noise.encode("utf-8", "surrogatepass") if isinstance(noise, str) else noise

        assert not ours_takes(noise)
        assert not ours_takes(FORGE.token(claims=raw))
        assert not ours_takes(FORGE.token(header=raw or b"-"))


class TestKeyRotation:
    tokens = Tokens(SECRET, previous=OLD_SECRET, lifetime_seconds=LIFETIME_SECONDS)
    old = Tokens(OLD_SECRET, lifetime_seconds=LIFETIME_SECONDS)

    def test_reads_both_keys_and_mints_with_the_new_one(self) -> None:
        assert ours_takes(minted(self.old), self.tokens)
        assert ours_takes(minted(self.tokens), self.tokens)
        assert minted(self.tokens, at=datetime(2026, 1, 1, tzinfo=UTC)) == minted(
            at=datetime(2026, 1, 1, tzinfo=UTC)
        )

    def test_ends_with_the_old_key(self) -> None:
        assert not ours_takes(minted(self.old))

    def test_takes_no_signature_of_one_key_under_the_name_of_the_other(self) -> None:
        new_name, old_name = Forge(SECRET, USER, SESSION), Forge(OLD_SECRET, USER, SESSION)

        assert ours_takes(old_name.token(), self.tokens)
        assert not ours_takes(new_name.token(key=old_name.key), self.tokens)
        assert not ours_takes(old_name.token(key=new_name.key), self.tokens)

    def test_finds_the_successor_that_was_derived_before(self) -> None:
        new, old = self.tokens.successors("a refresh token")

        assert new == TOKENS.successors("a refresh token")[0]
        assert [old] == self.old.successors("a refresh token")
        assert self.tokens.successors("another") != [new, old]

    def test_keeps_two_names_for_two_keys(self) -> None:
        kids = {pyjwt.get_unverified_header(minted(each))["kid"] for each in (self.tokens, self.old)}

        assert len(kids) == 2


class TestOverHttp:
    @pytest.fixture
    async def forge(self, maker: SignedIn, sessions: Sessions, settings: Settings) -> Forge:
        """What it signs would be let in, were there nothing else wrong with it."""
        async with transaction(sessions) as db:
            session_id = (await db.scalars(select(Session.id))).one()
        return Forge(settings.jwt_secret.get_secret_value(), maker.id, session_id)

    async def test_good_tokens_are_let_in(self, client: httpx2.AsyncClient, forge: Forge) -> None:
        for case in GOOD:
            assert (await self.me(client, case.token(forge))).status_code == 200, case

    async def test_forged_tokens_are_401_and_never_500(
        self, client: httpx2.AsyncClient, forge: Forge
    ) -> None:
        for case in FORGED:
            token = case.token(forge)
            if token != token.strip():
                continue  # HTTP knows no space around a value
            answer = await self.me(client, token)

            assert answer.status_code == 401, case
            assert answer.headers["WWW-Authenticate"].startswith("Bearer"), case
            assert answer.headers["Content-Type"] == "application/problem+json", case
            assert answer.json()["code"] == "not_signed_in", case

    @staticmethod
    async def me(client: httpx2.AsyncClient, token: str) -> httpx2.Response:
        sent = b"Bearer " + token.encode("utf-8", "surrogatepass")
        return await client.get("/auth/me", headers=[(b"Authorization", sent)])
