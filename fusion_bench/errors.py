"""The one exception family that a user may meet: a sentence that says what, where and what to do."""


class FusionBenchError(Exception):
    """Something the user can put right; the command line prints the message alone, without a traceback."""


class StudyFileError(FusionBenchError):
    """A study file (or a ``--set`` override) asks for something impossible; may list several mistakes."""


class DataError(FusionBenchError):
    """A data set's files are missing, damaged or not in their published layout."""


class WeightsError(FusionBenchError):
    """Weights cannot be had, or are not those of the network that they are meant for."""


class NoResultError(FusionBenchError):
    """No cell of a study has a result, so there is nothing to report."""


class CellFailure(FusionBenchError):  # noqa: N818 - the field's word for it; an error of one cell, never of the study
    """A cell cannot give a result (a loss that is not finite, say); recorded, and the study goes on."""
