from platform_kit.plumbing.problems import Problem


class PredictionNotFound(Problem):
    status, title = 404, "Prediction not found"

    def __init__(self) -> None:
        super().__init__("There is no such prediction, or it is not yours to see.")
