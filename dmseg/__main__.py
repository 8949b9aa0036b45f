"""``python -m dmseg`` is the ``dmseg`` command; ``torchrun -m dmseg`` needs this form."""

from dmseg.cli import main

if __name__ == "__main__":
    main()
