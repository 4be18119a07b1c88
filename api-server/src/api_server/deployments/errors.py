from platform_kit.plumbing.problems import Problem


class NothingToDeploy(Problem):
    status, title = 409, "Nothing to deploy"


class OptionsDoNotFit(Problem):
    status, title = 422, "Options do not fit"


class DeploymentRefused(Problem):
    status, title = 409, "Deployment refused"


class DeploymentNotFound(Problem):
    status, title = 404, "Deployment not found"

    def __init__(self) -> None:
        super().__init__("There is no such deployment, or it is not yours to see.")


class EndpointNotFound(Problem):
    status, title = 404, "Endpoint not found"

    def __init__(self) -> None:
        super().__init__("There is no such endpoint, or it is not yours to see.")


class NothingToRollBackTo(Problem):
    status, title = 409, "Nothing to roll back to"
