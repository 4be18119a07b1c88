"""The commands of the Docker Compose platform: `make up`, `health`, `backup` and their like.

They need Docker, the Compose plugin and Python 3.11, and nothing that would have to be installed first: the standard
library only. What runs is described in docker-compose.yml; here is what people do with it.
"""

import sys

if sys.version_info < (3, 11):  # noqa: UP036  # whoever has an older one meets this sentence, and no traceback
    sys.exit("Python 3.11 or newer is needed for this. Name one that you have: make up PYTHON=python3.12")
