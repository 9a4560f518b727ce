"""Addresses of storages, as users give them; what is wrong with one is told before the start."""

import uuid
from collections.abc import Callable
from urllib.parse import urlsplit

import fsspec

from apt_core.errors import ConfigError
from orchestrator.mirror.remote import RemoteFolder, make_folder

FIELD = "orchestration.mirror"
RemoteFor = Callable[[str], RemoteFolder]
_PROBE = b"aptune"


def remote_folders(address: str, sweep: str) -> RemoteFor:
    """Where the copies of a sweep's trials lie.

    Args:
        address: For fsspec, e.g. ``s3://bucket/folder``.
        sweep: The sweep's name.

    Returns:
        From a run id to the place of its copy.
    """
    filesystem, path = _open(address)
    return lambda run_id: RemoteFolder(filesystem, f"{path.rstrip('/')}/{sweep}/{run_id}")


def check_mirror(address: str) -> None:
    """Check that a storage can be reached and written to; leaves nothing there.

    Args:
        address: See `remote_folders`.

    Raises:
        ConfigError: If not; says why.
    """
    parts = urlsplit(address)
    if parts.username or parts.password:
        raise ConfigError(
            f"{FIELD}: holds a user's name or a password, which would be written to files; give "
            "them in the storage's own environment variables or files"
        )
    try:
        filesystem, path = _open(address)
        probe = f"{path.rstrip('/')}/.probe-{uuid.uuid4().hex}"
        make_folder(filesystem, path)
        filesystem.pipe_file(probe, _PROBE)
        found = filesystem.cat_file(probe)
        filesystem.rm_file(probe)
    except Exception as error:  # clients of storages raise what they like
        raise ConfigError(
            f"{FIELD}: {address} cannot be used: {error or type(error).__name__}"
        ) from error
    if found != _PROBE:
        raise ConfigError(f"{FIELD}: {address} gives back something else than was written")


def _open(address: str) -> tuple["fsspec.AbstractFileSystem", str]:
    """The file system of an address, which remembers no listings, and the path in it."""
    filesystem, path = fsspec.core.url_to_fs(address, use_listings_cache=False)
    return filesystem, path
