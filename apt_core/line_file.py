"""Files that grow line by line and outlive the death of their writer."""

from pathlib import Path


def drop_torn_line(path: Path) -> None:
    """Cut away half a line that a killed process left at the end of a file.

    Args:
        path: The file; one that is missing stays missing.
    """
    if not path.exists():
        return
    with path.open("rb+") as file:
        content = file.read()
        if content and not content.endswith(b"\n"):
            file.truncate(content.rfind(b"\n") + 1)
