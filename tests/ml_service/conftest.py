"""OpenMP reads this when it is loaded: idle threads sleep, as in the training child."""

import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
