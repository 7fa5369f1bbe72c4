"""The models that come with the repository, each a folder under weights/ and a name; and the hashes in the README."""

import re
from pathlib import Path

ROOT = Path(__file__).parent.parent
BUNDLED = sorted(path.parent.name for path in ROOT.glob("weights/*/config.json"))
README_HASHES = dict(re.findall(r"^\| `(.+)` \| `([0-9a-f]{64})` \|$", (ROOT / "README.md").read_text(), re.MULTILINE))
