from platform_kit.plumbing.problems import Problem


class AlgorithmUnknown(Problem):
    status, title = 422, "Algorithm unknown"


class ParametersInvalid(Problem):
    status, title = 422, "Parameters invalid"


class TargetMissing(Problem):
    status, title = 422, "Target missing"


class TargetUnusable(Problem):
    status, title = 422, "Target unusable"


class NothingToTrainOn(Problem):
    status, title = 422, "Nothing to train on"
