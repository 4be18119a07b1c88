import httpx2

from tests.api_server.factories import PASSWORD

ACCOUNT = {"email": "ada@example.com", "username": "ada", "password": PASSWORD}


async def log_in(client: httpx2.AsyncClient, name: str, password: str = PASSWORD) -> httpx2.Response:
    return await client.post("/auth/token", data={"username": name, "password": password})
