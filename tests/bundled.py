"""The models that come with the repository, each a folder under weights/ and a name; and the published hashes."""

import re
from pathlib import Path

ROOT = Path(__file__).parent.parent
BUNDLED = sorted(path.parent.name for path in ROOT.glob("weights/*/config.json"))
PUBLISHED_HASHES = dict(
    re.findall(r"^\| `(.+)` \| `([0-9a-f]{64})` \|$", (ROOT / "docs" / "exactness.md").read_text(), re.MULTILINE)
)
