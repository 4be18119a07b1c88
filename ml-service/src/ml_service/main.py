"""The prediction service: `python -m ml_service.main`."""

import os

from ml_service.settings import Settings
from platform_kit.plumbing.http import serve
from platform_kit.plumbing.logging import set_up_logging

THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def main() -> None:
    settings = Settings.from_environment()
    set_up_logging("ml-service", level=settings.log_level, log_format=settings.log_format)
    for name in THREAD_VARIABLES:
        # One thread answers a row faster than a crew that has to meet first.
        os.environ.setdefault(name, "1")
    # Imported here, because the libraries behind it read those variables when they are loaded.
    from ml_service.app import create_app, in_the_fast_lane

    app = create_app(settings)
    served = in_the_fast_lane(app, settings)
    serve(served, host=settings.ml_host, port=settings.ml_port, draining=app.state.draining)


if __name__ == "__main__":
    main()
