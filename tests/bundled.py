"""The models that come with the repository, each a folder under weights/ and a name; and the published hashes."""

import re
from pathlib import Path

ROOT = Path(__file__).parent.parent
BUNDLED = sorted(path.parent.name for path in ROOT.glob("weights/*/config.json"))
EXACTNESS = (ROOT / "docs" / "exactness.md").read_text()
PUBLISHED_HASHES = dict(re.findall(r"^\| `([\w-]+)` \| `([0-9a-f]{64})` \|$", EXACTNESS, re.MULTILINE))
FORMAT_HASHES = {  # by model and format of its weights
    (model, weights): digest
    for model, weights, digest in re.findall(
        r"^\| `([\w-]+)` \| `(\w+)` \| `([0-9a-f]{64})` \|$", EXACTNESS, re.MULTILINE
    )
}
