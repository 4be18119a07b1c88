from platform_kit.plumbing.problems import Problem


class ModelNotFound(Problem):
    status, title = 404, "Model not found"

    def __init__(self) -> None:
        super().__init__("There is no such model, or it is not yours to see.")


class ModelVersionNotFound(Problem):
    status, title = 404, "Model version not found"


class ModelNameTaken(Problem):
    status, title = 409, "Model name taken"


class ModelInUse(Problem):
    status, title = 409, "Model is in use"
