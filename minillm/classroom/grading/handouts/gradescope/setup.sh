#!/usr/bin/env bash
# Gradescope's image has Python 3.10, and minillm needs 3.11 or later: uv brings a Python of its own.
set -euo pipefail
source=/autograder/source
export PIP_BREAK_SYSTEM_PACKAGES=1  # newer images ask for it; older pips do not know it
python3 -m pip --version > /dev/null 2>&1 || { apt-get update && apt-get install -y python3-pip; }
python3 -m pip install --quiet uv
python3 -m uv venv --quiet --python 3.12 /autograder/python
python3 -m uv pip install --quiet --python /autograder/python/bin/python -r "$source/requirements.txt"
PYTHONPATH="$source/package" /autograder/python/bin/python -P -m minillm grade --help > /dev/null
