"""Which prompts a simulated user gives: first prompts, corrective clicks, boxes. No model, no file, no metric.

Everything is a pure function of the masks, the seed and the mask's id; ``docs/protocol.md`` gives the rules and why.
"""

from dmseg.protocol.clicks import Click, next_click, with_click, with_stroke
from dmseg.protocol.first import candidate_prompts, first_prompts
from dmseg.protocol.presets import CORRECTIVE_RULES, PRESETS, PROTOCOL_ID, Preset, preset
from dmseg.protocol.replay import prompts_from_rows, strokes_from_rows

__all__ = [
    "CORRECTIVE_RULES",
    "PRESETS",
    "PROTOCOL_ID",
    "Click",
    "Preset",
    "candidate_prompts",
    "first_prompts",
    "next_click",
    "preset",
    "prompts_from_rows",
    "strokes_from_rows",
    "with_click",
    "with_stroke",
]
