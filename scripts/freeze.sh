#!/usr/bin/env bash
# Print the installed versions as constraints: no paths, no build tags (torch==2.13.0+cpu is torch==2.13.0).
#
#   scripts/freeze.sh PYTHON
set -euo pipefail

python=${1:?usage: scripts/freeze.sh PYTHON}
"$python" -m pip --disable-pip-version-check freeze --exclude-editable \
  | sed -E -e '/ @ |^-e |^#/d' -e 's/^(.*==[^+]*)\+.*$/\1/' \
  | grep -iv '^aptune==' \
  | LC_ALL=C sort -f
