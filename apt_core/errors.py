"""What can go wrong, as a small tree of exceptions.

Every message says where (field path, file, parameter), what is wrong, what was given and what to
do. `UserError` and
its children are the user's to mend: the command line prints their message without a traceback and
exits with code 2.
"""


class AptError(Exception):
    """Base of every error that this project raises on purpose."""


class UserError(AptError):
    """The input is wrong; the message tells the user what to change. Exit code 2."""


class ConfigError(UserError):
    """A configuration value is missing, unknown, of the wrong type or contradicts another."""


class DataError(UserError):
    """A dataset cannot be read or does not hold what its task needs."""


class UnsupportedModelError(UserError):
    """A model cannot be loaded, or `apt_core.models.families` does not describe it."""


class TrackingError(UserError):
    """The tracking server cannot be reached or refuses us when a run starts."""


class BudgetError(AptError):
    """No structure satisfies the parameter budget together with the floors."""


class SurgeryError(AptError):
    """A parameter does not have the shape that a surgery expects; gives name and shapes."""


class DecisionMismatchError(AptError):
    """The workers of one training decided differently; continuing would corrupt the model."""


class CheckpointError(AptError):
    """A checkpoint is torn, altered, or belongs to another run."""


class StorageError(AptError):
    """The storage is full or read-only; gives the path, what is free there and what to do."""


class DeviceMemoryError(AptError):
    """The GPU's memory did not suffice; says what needs less of it."""


class TrainingError(AptError):
    """Training cannot go on: the loss is not finite, or every step overflows."""


class TrainingStoppedError(AptError):
    """Not a failure: the run was asked to stop, and has committed a checkpoint of its last step."""


class ExportError(AptError):
    """An export cannot be loaded again, or does not compute what the trained model does."""
