"""The shell scripts of the images, run as they are."""

import stat
import subprocess
from pathlib import Path

import pytest

from tests.deploy_files import ROOT

WITH_SECRETS = str(ROOT / "docker/with-secrets.sh")


def run(environment: dict[str, str], *command: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [WITH_SECRETS, *command],
        env={"PATH": "/usr/bin:/bin", **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_secret_goes_from_its_file_to_the_variable_and_other_variables_stay(
    tmp_path: Path,
) -> None:
    secret = tmp_path / "secret"
    secret.write_text("a b$c'd\n")
    given = {"FROM_FILE_PGPASSWORD": str(secret), "SSL_CERT_FILE": "/etc/certificates"}
    done = run(given, "env")
    lines = done.stdout.splitlines()
    assert "PGPASSWORD=a b$c'd" in lines
    assert "SSL_CERT_FILE=/etc/certificates" in lines
    assert not [line for line in lines if line.startswith("FROM_FILE_")]


@pytest.mark.parametrize("content", [None, ""])
def test_a_secret_that_is_missing_or_empty_ends_the_start_with_its_name(
    content: str | None, tmp_path: Path
) -> None:
    secret = tmp_path / "secret"
    if content is not None:
        secret.write_text(content)
    done = run({"FROM_FILE_PGPASSWORD": str(secret)}, "echo", "started")
    assert (done.returncode, done.stdout) == (2, "")
    assert "PGPASSWORD" in done.stderr
    assert str(secret) in done.stderr


def test_the_command_takes_the_place_of_the_script_and_its_status_is_kept() -> None:
    assert run({}, "sh", "-c", "exit 7").returncode == 7


def test_secrets_are_made_once_long_and_behind_a_closed_door(tmp_path: Path) -> None:
    folder = tmp_path / "secrets"
    script = [str(ROOT / "docker/make-secrets.sh"), str(folder)]
    subprocess.run(script, check=True)
    first = {path.name: path.read_text() for path in folder.iterdir()}
    (folder / "ray_token").unlink()
    subprocess.run(script, check=True)
    second = {path.name: path.read_text() for path in folder.iterdir()}
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert all(len(value) == 64 for value in second.values())
    assert len(set(second.values())) == len(second)
    assert second.pop("ray_token") != first.pop("ray_token")
    assert second == first
