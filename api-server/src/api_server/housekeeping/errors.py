from api_server.jobs.models import Job
from platform_kit.plumbing.problems import Problem


class ChoreNotFound(Problem):
    status, title = 404, "Chore not found"


class ChoreUnderWay(Problem):
    status, title = 409, "Chore under way"

    def __init__(self, name: str, job: Job) -> None:
        super().__init__(f"{name} is {job.status} already; follow GET /api/v1/jobs/{job.id}.")
