"""Why a training cannot succeed: facts about the data or the request, for the person who started it."""

from ml_service.tables.problems import JobProblem


class UnknownTraining(JobProblem):
    title = "Framework or algorithm is not known"


class InvalidParameters(JobProblem):
    title = "Parameters are not valid"


class TargetMissing(JobProblem):
    title = "Target column is missing"


class TargetIsEmpty(JobProblem):
    title = "Target has no values"


class TargetHasOneClass(JobProblem):
    title = "Target has one class"


class TooManyClasses(JobProblem):
    title = "Target has too many classes"


class TargetIsNotAClass(JobProblem):
    title = "Target does not hold classes"


class TargetIsNotNumeric(JobProblem):
    title = "Target is not numeric"


class TargetTooLarge(JobProblem):
    title = "Target holds numbers that are too large"


class TooFewRows(JobProblem):
    title = "Too few rows"


class FitFailed(JobProblem):
    title = "Training did not succeed"
