"""Dockerfiles: pinned, not root, and nothing in them that does not belong there."""

import pytest

from tests.deploy_files import DOCKERFILES, PINNED, ROOT, stages


@pytest.mark.parametrize("name", DOCKERFILES)
def test_an_image_has_a_pinned_base_and_a_user_that_is_not_root(name: str) -> None:
    for stage in stages(name):
        assert PINNED.fullmatch(stage[0].split()[1]), stage[0]
    users = [line for line in stages(name)[-1] if line.startswith("USER ")]
    assert users == ["USER 1000"]


@pytest.mark.parametrize("name", DOCKERFILES)
def test_what_an_image_copies_exists_and_no_compiler_or_cache_is_left_in_it(name: str) -> None:
    last = stages(name)[-1]
    copies = [line.split()[1:] for stage in stages(name) for line in stage if "COPY" in line]
    for words in copies:
        if any(word.startswith("--from") for word in words):
            continue
        sources = [word for word in words if not word.startswith("--")][:-1]
        assert [path for path in sources if not (ROOT / path).exists()] == []
    assert not [line for line in last if "pip install" in line or "build-essential" in line]
    assert name == "store.Dockerfile" or len(stages(name)) == 2


def test_the_images_for_cpus_and_gpus_install_the_same() -> None:
    cpu, cuda = ([line for line in stages(f"{kind}.Dockerfile")[0]] for kind in ("cpu", "cuda"))
    assert [line for line in cpu if line.startswith("RUN")] == [
        line for line in cuda if line.startswith("RUN")
    ]


def test_secrets_and_results_stay_out_of_the_images_and_of_the_repository() -> None:
    assert {"secrets", "runs", ".git"} <= set((ROOT / ".dockerignore").read_text().split())
    assert "/secrets/" in (ROOT / ".gitignore").read_text().split()
