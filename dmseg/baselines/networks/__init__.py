"""The networks of the baselines, under their official parameter names. No files, no pre-processing, no prompts logic.

Built on ``segment_anything`` (ViT encoder, prompt encoder, mask decoder) and timm's TinyViT; what those do not have is
re-built here from its published description and checked against reference outputs. Importing this package needs the
``models`` extra; nothing outside of ``dmseg.baselines`` imports it, and that only when such a model is asked for.
"""
