#!/usr/bin/env bash
# minillm needs Python 3.11 or later. If the image has an older one, such as 3.10, uv downloads a newer one.
set -euo pipefail
source=/autograder/source
export PIP_BREAK_SYSTEM_PACKAGES=1  # newer images ask for it; older pips do not know it
python3 -m pip --version > /dev/null 2>&1 || { apt-get update && apt-get install -y python3-pip; }
python3 -m pip install --quiet uv
python3 -m uv venv --quiet --python '>=3.11' /autograder/python
python3 -m uv pip install --quiet --python /autograder/python/bin/python -r "$source/requirements.txt"
PYTHONPATH="$source/package" /autograder/python/bin/python -P -m minillm grade --help > /dev/null
