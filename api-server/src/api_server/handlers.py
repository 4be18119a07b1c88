"""Which room answers for which kind of job."""

from api_server.datasets.handlers import ProfileHandler
from api_server.housekeeping.handlers import HousekeepingHandler
from api_server.jobs.handler import Handlers
from api_server.training.handlers import TrainHandler
from platform_kit.contract.jobs import JobKind

HANDLERS: Handlers = {
    JobKind.PROFILE: ProfileHandler(),
    JobKind.TRAIN: TrainHandler(),
    JobKind.HOUSEKEEPING: HousekeepingHandler(),
}
