"""The settings that every process must have, strong enough for production."""

STRONG = "kJ7pQx2vLm9ZtR4wYc8NbD3s"


def redis(password: str) -> str:
    return f"redis://:{password}@redis/0"


NEEDED = {
    "BROKER_URL": redis(STRONG),
    "CACHE_URL": redis(STRONG),
    "INTERNAL_TOKEN": f"{STRONG}-{STRONG}",
    "S3_ENDPOINT": "127.0.0.1:9000",
    "S3_ACCESS_KEY": "key",
    "S3_SECRET_KEY": STRONG,
}
