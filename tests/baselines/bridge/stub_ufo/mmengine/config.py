"""A stub of mmengine's configurations."""

from pathlib import Path
from types import SimpleNamespace


class Config:
    @staticmethod
    def fromfile(path):
        assert Path(path).is_file()
        return SimpleNamespace(model=SimpleNamespace(pretrain_path="./elsewhere.pth"))
