# Sourced by run.sh and test.sh: makes .venv beside this folder and installs.
#
#   prepare EXTRAS    e.g. prepare plot,report; a second call with nothing changed
#                     in setup.py does not install again
#   find_pythons      prints a Python of each version from 3.11 on
#
# SEQJAX_PYTHON names the interpreter (default: the first of python3.13,
# python3.12, python3.11, python3 that is 3.11 or newer and runs). SEQJAX_VENV
# names another folder than .venv; in .venv-minima, packages have the oldest
# versions that setup.py allows.
venv=${SEQJAX_VENV:-.venv}

runs_seqjax() {
  "$1" -c 'import sys, venv, ensurepip; assert sys.version_info >= (3, 11)' \
    >/dev/null 2>&1
}

find_python() {
  local candidate
  for candidate in ${SEQJAX_PYTHON:-python3.13 python3.12 python3.11 python3}
  do
    if runs_seqjax "$candidate"; then
      echo "$candidate"
      return
    fi
  done
  echo "seqjax needs Python 3.11 or newer with its venv module; none of" \
    "'${SEQJAX_PYTHON:-python3.13 python3.12 python3.11 python3}' is one." \
    "On Debian: apt-get install python3 python3-venv." >&2
  return 2
}

find_pythons() {  # on the PATH, or installed by pyenv; the oldest first
  local minor folder folders
  IFS=: read -ra folders <<<"$PATH"
  folders+=("$HOME"/.pyenv/versions/*/bin)
  for minor in 11 12 13 14 15; do
    for folder in "${folders[@]}"; do
      if runs_seqjax "$folder/python3.$minor"; then
        echo "$folder/python3.$minor"
        break
      fi
    done
  done
}

prepare() {
  local extras=$1 stamp=$venv/installed-$1 wanted python made='' log pins=()
  wanted=$(cksum <setup.py)
  if [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$wanted" ]; then
    return
  fi
  python=$(find_python) || return 2
  echo "Installing seqjax[$extras] into $venv (once)." >&2
  # A venv whose making was interrupted has a python, but no pip.
  if ! "$venv/bin/python" -m pip --version >/dev/null 2>&1; then
    made=$venv
    "$python" -m venv --clear "$venv" || return 2
  fi
  if [ "$venv" = .venv-minima ]; then
    "$venv/bin/python" scripts/minima.py >"$venv/minima.txt" || return 2
    pins=(--constraint "$venv/minima.txt")
  fi
  if ! log=$("$venv/bin/python" -m pip install --quiet \
    --disable-pip-version-check ${pins[@]+"${pins[@]}"} \
    --editable ".[$extras]" 2>&1); then
    echo "pip cannot install seqjax[$extras] into $venv:" \
      "$(grep '^ERROR' <<<"$log" | tail -n 1 || true)" \
      "It needs the packages that setup.py names, from its index or a mirror:" \
      "'pip config list' shows which. Then run the command again." >&2
    if [ -n "$made" ]; then rm -rf "$venv"; fi
    return 2
  fi
  echo "$wanted" >"$stamp"
}
