"""The finished run whose exported model teaches another run. Imports no torch."""

from pathlib import Path

from apt_core.errors import ConfigError
from apt_core.report import RunReport

FIELD = "distillation.teacher_path"
EXPORT, RESULT = "export", "result.json"


def teacher_run(folder: Path, arm: str) -> RunReport:
    """The report that lies beside an exported model.

    Args:
        folder: the ``export`` folder of a finished run.
        arm: the arm that the run must be of.

    Returns:
        The report of that run: who it is, and what its training took.

    Raises:
        ConfigError: the run is not finished, or is another arm's.
    """
    try:
        report = RunReport.load(folder.parent / RESULT)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(
            f"{FIELD}: is not the export folder of a finished run, there is no readable "
            f"{RESULT} beside it, given {str(folder)!r}; finish an {arm} run first, or name "
            f"<its run folder>/{EXPORT}"
        ) from error
    if report.arm != arm:
        raise ConfigError(
            f"{FIELD}: is a run of arm {report.arm}, given {str(folder)!r}; name one of arm {arm}"
        )
    return report
