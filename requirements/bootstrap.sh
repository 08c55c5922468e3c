#!/bin/sh
# bootstrap.sh ENVIRONMENT REQUIREMENTS: make a Python 3.13 environment hold exactly REQUIREMENTS.
#
# Works from whatever the machine has: a 3.13 that runs ($PYTHON, python3.13, pyenv's, python3),
# else one that uv fetches. uv itself comes from PyPI by pip, into .venv-uv, unless it is installed.
set -eu
# Trust what the machine trusts: companies have authorities of their own.
export UV_SYSTEM_CERTS=1
environment=$1 requirements=$2
here=$(dirname "$0")

is_313() { "$1" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 13))' >/dev/null 2>&1; }

pythons() {  # one candidate per line, best first
    [ -z "${PYTHON:-}" ] || echo "$PYTHON"
    echo python3.13
    # A pyenv shim that is on PATH may not run; the interpreter behind it does.
    if command -v pyenv >/dev/null 2>&1; then
        ls -d "$(pyenv root)"/versions/3.13*/bin/python 2>/dev/null || true
    fi
    echo python3
    echo /usr/bin/python3
}

find_python() {
    pythons | while read -r candidate; do
        if is_313 "$candidate"; then echo "$candidate"; break; fi
    done
}

find_uv() {
    if [ -x .venv-uv/bin/uv ] && [ ! "$here/uv.txt" -nt .venv-uv/bin/uv ]; then
        echo .venv-uv/bin/uv
        return
    fi
    pythons | while read -r candidate; do
        rm -rf .venv-uv
        if "$candidate" -m venv .venv-uv >/dev/null 2>&1; then
            .venv-uv/bin/python -m pip install --quiet --disable-pip-version-check \
                --require-hashes -r "$here/uv.txt" >&2 && touch .venv-uv/bin/uv
            break
        fi
    done
    if [ -x .venv-uv/bin/uv ]; then echo .venv-uv/bin/uv; else command -v uv || true; fi
}

uv=$(find_uv)
if [ -z "$uv" ]; then
    echo "No Python here can make a virtual environment, and uv is not installed." >&2
    echo "Install Python 3.13 with its venv module (Debian: python3-venv), or uv; or set PYTHON." >&2
    exit 1
fi
if ! is_313 "$environment/bin/python"; then
    python=$(find_python)
    rm -rf "$environment"
    "$uv" venv --quiet --no-project --python "${python:-3.13}" "$environment" || {
        echo "No Python 3.13 found, and uv could not fetch one. Install it, or set PYTHON." >&2
        exit 1
    }
fi
echo "installing $requirements into $environment"
VIRTUAL_ENV=$environment "$uv" pip sync --quiet --require-hashes "$requirements"
touch "$environment/.ready"
