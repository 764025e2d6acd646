"""Print the first `sh` block of README.md that contains the given words: what a reader would paste."""

import pathlib
import re
import sys

text = pathlib.Path("README.md").read_text(encoding="utf-8")
for block in re.findall(r"^```sh\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
    if sys.argv[1] in block:
        print(block, end="")
        break
else:
    sys.exit(f"README.md has no sh block with {sys.argv[1]!r}")
