#!/usr/bin/env bash
# Prepares a node: a Python environment with this project and the Ray of the whole cluster.
#
#   bash setup_node.sh RAY_VERSION
#
# The environment is ~/.venv-droplora; ~/.droplora-sweep.sh puts it first on the path, and login
# shells read that file. A second run changes what differs, in seconds.
set -euo pipefail

ray_version=${1:?"the version of Ray that all nodes have, e.g. 2.60.0"}
project=$(cd "$(dirname "$0")/.." && pwd)
environment=$HOME/.venv-droplora

suits() { command -v "$1" > /dev/null && "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; }

if [ ! -x "$environment/bin/python" ]; then
    for python in python3 python3.13 python3.12 python3.11 none; do
        if suits "$python"; then break; fi
    done
    if [ "$python" = none ]; then
        echo "setup_node.sh: no Python of at least 3.11 on $(hostname): take a newer image, or install one" >&2
        exit 1
    fi
    if ! "$python" -c 'import ensurepip' 2> /dev/null; then
        # Debian and Ubuntu have it in a package of its own.
        sudo apt-get update -qq
        sudo apt-get install -y -qq "$("$python" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')"
    fi
    "$python" -m venv "$environment"
fi
# torch comes with CUDA from PyPI; the ranges of its version and of all others are in pyproject.toml.
"$environment/bin/python" -m pip install --quiet --editable "$project" "ray[default,train,tune]==$ray_version"

# Ray's token, where there is one, is its owner's; all nodes then ask for it. Jobs have time to save.
if [ -f ~/.ray/auth_token ]; then chmod 600 ~/.ray/auth_token; fi
cat > ~/.droplora-sweep.sh << 'END'
export PATH="$HOME/.venv-droplora/bin:$PATH"
if [ -f ~/.ray/auth_token ]; then export RAY_AUTH_MODE=token; fi
export RAY_JOB_STOP_WAIT_TIME_S=60
ulimit -Sn "$(ulimit -Hn)"
END
# The file that a login shell of this user reads.
profile=$HOME/.profile
for one in "$HOME/.bash_login" "$HOME/.bash_profile"; do
    if [ -f "$one" ]; then profile=$one; fi
done
if ! grep -qs droplora-sweep.sh "$profile"; then
    echo '. ~/.droplora-sweep.sh' >> "$profile"
fi
