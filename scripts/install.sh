#!/usr/bin/env bash
# Make a virtual environment and install this checkout into it, editable, with every version pinned.
#
#   scripts/install.sh VENV [EXTRAS]      e.g.  scripts/install.sh .venv dev
#
# PYTHON names the interpreter to build from; without it the first of the list below that is 3.11 or newer is taken.
set -euo pipefail

cd "$(dirname "$0")/.."
venv=${1:?usage: scripts/install.sh VENV [EXTRAS]}
extras=${2:-}
target=.${extras:+[$extras]}

usable() {
  "$1" -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1
}

find_python() {
  local candidate
  for candidate in ${PYTHON:-python3.11 python3 python3.12 python3.13 python3.14}; do
    if usable "$candidate"; then
      echo "$candidate"
      return
    fi
  done
  echo "error: no usable Python ${PYTHON:+at PYTHON=$PYTHON }(3.11 or newer, with the venv module) was found." >&2
  echo "Install one (on Debian and Ubuntu: apt-get install python3 python3-venv), or name it: make PYTHON=/path/to/python3" >&2
  exit 1
}

stage() {
  printf '[%4ss] %s\n' "$SECONDS" "$*"
}

if [[ -e $venv ]] && ! usable "$venv/bin/python"; then
  echo "error: $venv exists but holds no working Python 3.11 or newer. Remove it and run this again." >&2
  exit 1
fi
if [[ ! -e $venv ]]; then
  python=$(find_python)
  stage "making $venv with $("$python" --version)"
  "$python" -m venv "$venv"
fi

pip=("$venv/bin/python" -m pip --disable-pip-version-check -qq --no-input)
torch=$(grep '^torch==' constraints.txt)

# Without bytecode: to compile every module of every package takes about as long as the rest, and most are never used.
install=("${pip[@]}" install --no-compile)

# torch goes first: DeepSpeed's build reads its version.
stage "installing $torch"
"${install[@]}" "$torch"
stage "installing $(grep -c '==' constraints.txt) pinned packages and aptune (the longest step)"
"${install[@]}" --constraint constraints.txt --editable "$target"
# Python compiles what it imports, but may be told not to keep it (images often set PYTHONDONTWRITEBYTECODE): then every
# process would compile these again.
stage "compiling what trainings import"
env -u PYTHONDONTWRITEBYTECODE DS_ACCELERATOR=cpu "$venv/bin/python" -W ignore -c '
import datasets, deepspeed, mlflow.server.fastapi_app, ray.train.v2.api.data_parallel_trainer, ray.tune
import apt_core.trainer.build, jobs.sweep
from transformers.models.bert import modeling_bert  # transformers imports what somebody asks for
from transformers.models.llama import modeling_llama
from transformers.models.roberta import modeling_roberta
from transformers.models.t5 import modeling_t5
'
stage "installed"
