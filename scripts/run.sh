#!/usr/bin/env bash
# Sets up, then measures: claims that are computations, what scans cost against
# attention, how far back each mixer remembers (the preset first). Arguments go
# to experiments.reproduce, see its --help.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source scripts/environment.sh
prepare plot,report
exec .venv/bin/python -m experiments.reproduce --preset=first "$@"
