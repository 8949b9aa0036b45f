"""Models in another process: another Python environment, a container, a machine behind ssh, or isolated from us.

``dmseg_bridge.py`` is the other side: one file, numpy only, Python 3.8. The others start it, ask it and end it.
"""

from dmseg.baselines.bridge.adapter import Bridge
from dmseg.baselines.bridge.launching import load_bridge, load_isolated

__all__ = ["Bridge", "load_bridge", "load_isolated"]
