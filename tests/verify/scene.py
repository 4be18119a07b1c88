"""What the promises are checked with. Each thing is made when the first promise needs it, and shared by the others."""

import json
import secrets
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Self

from tests.verify.calling import Caller
from tests.verify.loop import FLIGHTS, Json, Row, body_of, deploy, new_model, rows_of, trained, upload


@dataclass
class Scene:
    api_url: str
    ml_url: str
    data_dir: Path
    patience_seconds: float = 0.0
    open_callers: ExitStack = field(default_factory=ExitStack)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.open_callers.close()

    def anybody(self) -> Caller:
        """A caller without a credential."""
        caller = Caller(self.api_url, self.ml_url, patience_seconds=self.patience_seconds)
        self.open_callers.enter_context(caller.http)
        return caller

    def newcomer(self) -> Caller:
        """A fresh account, signed in."""
        caller = self.anybody()
        caller.username, caller.password = f"verify-{secrets.token_hex(5)}", secrets.token_urlsafe(16)
        account = {"email": f"{caller.username}@example.com"}
        body_of(caller.api("POST", "/auth/register", json={**account, **login(caller)}))
        body_of(caller.log_in())
        return caller

    def known(self, username: str) -> Caller:
        """An account of `credentials.json`, signed in."""
        users = json.loads((self.data_dir / "credentials.json").read_text())["users"]
        found = next(user for user in users if user["username"] == username)
        caller = self.anybody()
        caller.username, caller.password = username, found["password"]
        body_of(caller.log_in())
        return caller

    @cached_property
    def nobody(self) -> Caller:
        return self.anybody()

    @cached_property
    def maker(self) -> Caller:
        """Owns the shared data set and model."""
        return self.newcomer()

    @cached_property
    def stranger(self) -> Caller:
        """Signed in, and invited nowhere."""
        return self.newcomer()

    @cached_property
    def flights(self) -> Json:
        return upload(self.maker, FLIGHTS.read_bytes(), name="flights", file_name="flights.csv")

    @cached_property
    def rows(self) -> list[Row]:
        return rows_of(FLIGHTS, self.flights, target="arrival")

    @cached_property
    def model(self) -> Json:
        """Trained on the flights and deployed; as `GET /models/{id}` showed it then."""
        model = trained(self.maker, new_model(self.maker, self.flights["id"], name="late flights"))
        deploy(self.maker, model)
        found: Json = body_of(self.maker.api("GET", f"/models/{model['id']}"))
        return found


def login(caller: Caller) -> dict[str, str]:
    return {"username": caller.username, "password": caller.password}
