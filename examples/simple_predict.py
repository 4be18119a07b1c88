"""One prediction from the command line, over HTTP.

    python examples/simple_predict.py
    python examples/simple_predict.py --features '{"feature1": 2, "feature2": 0, "feature3": 1, "feature4": 0}' --proba
    MLP_API_KEY=... python examples/simple_predict.py --model my-endpoint --features '{"age": 41, "city": "Oslo"}'

The demo models answer anyone. For any other, put an API key into MLP_API_KEY or an access token into MLP_TOKEN.
"""

import argparse
import json
import os
import sys
from typing import Any
from urllib.parse import quote

import httpx2

DEFAULT_FEATURES = '{"feature1": 0.5, "feature2": 1.2, "feature3": -0.3, "feature4": 2.0}'


def main() -> None:
    options = parse_options()
    body = {"input_data": options.features, "return_probabilities": options.proba}
    url = f"{options.ml_url.rstrip('/')}/predict/{quote(options.model, safe='')}"
    try:
        response = httpx2.post(url, json=body, headers=credentials(), timeout=30)
    except (httpx2.TransportError, httpx2.InvalidURL) as error:
        sys.exit(
            f"{url} cannot be reached: {error}. Is the platform running (`make dev`)? See also --ml-url."
        )
    if not response.is_success:
        sys.exit(explained(response))
    show(response.json())


def parse_options() -> argparse.Namespace:
    default_url = os.environ.get("MLP_ML_URL", "http://127.0.0.1:8001")
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--model", default="demo_model_1", help="a model's id or its endpoint's name (%(default)s)"
    )
    parser.add_argument(
        "--features", default=DEFAULT_FEATURES, type=features, help="one row, as a JSON object"
    )
    parser.add_argument("--proba", action="store_true", help="also show each class's probability")
    parser.add_argument("--ml-url", default=default_url, help="ml-service, or MLP_ML_URL (%(default)s)")
    return parser.parse_args()


def features(text: str) -> dict[str, Any]:
    try:
        row = json.loads(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(
            f"this is not JSON ({error}); put single quotes around the object"
        ) from None
    if not isinstance(row, dict):
        raise argparse.ArgumentTypeError('this must be a JSON object, such as {"age": 41}')
    return row


def credentials() -> dict[str, str]:
    if key := os.environ.get("MLP_API_KEY"):
        return {"X-API-Key": key}
    if token := os.environ.get("MLP_TOKEN"):
        return {"Authorization": f"Bearer {token}"}
    return {}


def show(answer: dict[str, Any]) -> None:
    print(f"prediction     {json.dumps(answer['prediction'], ensure_ascii=False)}")
    if answer["confidence_score"] is not None:
        print(f"confidence     {answer['confidence_score']:.4f}")
    for label, probability in (answer["probabilities"] or {}).items():
        print(f"probability    {label}: {probability:.4f}")
    print(f"model version  {answer['metadata']['model_version']}")
    print(f"prediction id  {answer['prediction_id']}")
    for warning in answer["metadata"]["warnings"]:
        print(f"warning        {issue(warning)}", file=sys.stderr)


def explained(response: httpx2.Response) -> str:
    """The problem as a person reads it: the sentence, each error on its own line, and what to name when asking."""
    if "problem+json" not in response.headers.get("content-type", ""):
        return f"{response.request.url} answered {response.status_code}: this does not look like ml-service."
    problem = response.json()
    lines = [f"HTTP {problem['status']} {problem['title']}: {problem['detail']}"]
    lines += [f"  {issue(each)}" for each in problem.get("errors") or []]
    if problem["status"] == 401:
        lines.append("  Set MLP_API_KEY or MLP_TOKEN; only the demo models answer without.")
    return "\n".join([*lines, f"  request id {problem.get('request_id')}"])


def issue(each: dict[str, Any]) -> str:
    parts = [f"{each.get('field')}: {each['code']}"]
    parts += [f"{name} {each[name]}" for name in ("got", "expected") if each.get(name) is not None]
    if each.get("hint"):
        parts.append(each["hint"])
    return "; ".join(parts)


if __name__ == "__main__":
    main()
