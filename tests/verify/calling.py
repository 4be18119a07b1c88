"""One person, or nobody, calling both services over HTTP."""

import time
from dataclasses import dataclass, field
from typing import Any

import httpx2


@dataclass
class Caller:
    """patience_seconds: how long refused connections and 503 are tried again; 0: not at all."""

    api_url: str
    ml_url: str
    username: str = ""
    password: str = ""
    tokens: dict[str, Any] = field(default_factory=dict)
    patience_seconds: float = 0.0
    longest_outage_seconds: float = 0.0

    def __post_init__(self) -> None:
        self.http = httpx2.Client(timeout=60)

    def api(self, method: str, path: str, **request: Any) -> httpx2.Response:
        """Call api-server; `path` is under /api/v1, or from the root when it begins with two slashes."""
        url = f"{self.api_url}{path[1:]}" if path.startswith("//") else f"{self.api_url}/api/v1{path}"
        return self.send(method, url, **request)

    def ml(self, method: str, path: str, **request: Any) -> httpx2.Response:
        return self.send(method, f"{self.ml_url}{path}", **request)

    def predict(self, model: str, row: dict[str, Any], **options: Any) -> httpx2.Response:
        return self.ml("POST", f"/predict/{model}", json={"input_data": row, **options})

    def predict_batch(self, model: str, rows: list[dict[str, Any]], **options: Any) -> httpx2.Response:
        return self.ml("POST", f"/predict/{model}/batch", json={"inputs": rows, **options})

    def send(self, method: str, url: str, **request: Any) -> httpx2.Response:
        headers = {**self.authorization(), **request.pop("headers", {})}
        started = time.monotonic()
        while True:
            waited = time.monotonic() - started
            try:
                response = self.http.request(method, url, headers=headers, **request)
            except httpx2.TransportError:
                if waited >= self.patience_seconds:
                    raise
            else:
                if response.status_code != 503 or waited >= self.patience_seconds:
                    return response
            time.sleep(0.2)
            self.longest_outage_seconds = max(self.longest_outage_seconds, time.monotonic() - started)

    def authorization(self) -> dict[str, str]:
        token = self.tokens.get("access_token")
        return {"Authorization": f"Bearer {token}"} if token else {}

    def log_in(self) -> httpx2.Response:
        response = self.api(
            "POST", "/auth/token", data={"username": self.username, "password": self.password}
        )
        if response.is_success:
            self.tokens = response.json()
        return response
