"""SAM-style networks as ONNX or OpenVINO files: written for other programs, and run here as a model.

Two graphs, encoder and decoder, with the names and shapes of Meta's export script, samexporter and the web demos. What
is beyond these (how an image is prepared, which modes the files hold) lies in the files' own metadata.
"""

from dmseg.baselines.exported.running import load_exported
from dmseg.baselines.exported.writing import Exported, export_model

__all__ = ["Exported", "export_model", "load_exported"]
