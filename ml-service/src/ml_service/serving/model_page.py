"""A page for each model in which a browser shows its document and tries it out.

It is the same for every name, whether there is such a model or not: what the model is, the page asks with the
credential of its reader.
"""

import html
from pathlib import Path

from ml_service.serving.documentation import token_url

_PAGE = Path(__file__).with_suffix(".html").read_text()


def model_page(*, prefix: str, public_api_url: str) -> str:
    """prefix: what a proxy has taken off the path."""
    tokens = token_url(prefix=prefix, public_api_url=public_api_url)
    return _PAGE.replace("{prefix}", html.escape(prefix)).replace("{token_url}", html.escape(tokens))
