"""``python -m dmseg``, which is what torchrun starts."""

from dmseg.cli import main

main()
