"""The manifest: what makes a benchmark citable, without pixels. Columns, identifiers, digests, files, published ones.

Building a benchmark lives in :mod:`dmseg.build`; this package knows nothing of datasets or degradations.
"""

from dmseg.manifests.columns import DEGRADATIONS, IMAGES, MASKS, SCHEMA_VERSION, TABLES, Column, arrow_schema
from dmseg.manifests.difference import ManifestDifference, diff
from dmseg.manifests.expressions import expand_expressions, expression_id, object_of, pack_expressions
from dmseg.manifests.files import (
    HEADER_FILE,
    Manifest,
    check_tables,
    read_header,
    read_manifest,
    read_table,
    write_header,
    write_manifest,
    write_tables,
)
from dmseg.manifests.identity import (
    manifest_digest,
    mask_sha256,
    pixel_sha256,
    plan_digest,
    sort_table,
    thumbprint,
)
from dmseg.manifests.ids import case_id, clean_text, image_id, mask_id
from dmseg.manifests.published import (
    LOCAL_EDITION,
    edition_of,
    find_published,
    find_published_header,
    list_published,
)

__all__ = [
    "DEGRADATIONS",
    "HEADER_FILE",
    "IMAGES",
    "LOCAL_EDITION",
    "MASKS",
    "SCHEMA_VERSION",
    "TABLES",
    "Column",
    "Manifest",
    "ManifestDifference",
    "arrow_schema",
    "case_id",
    "check_tables",
    "clean_text",
    "diff",
    "edition_of",
    "expand_expressions",
    "expression_id",
    "find_published",
    "find_published_header",
    "image_id",
    "list_published",
    "manifest_digest",
    "mask_id",
    "mask_sha256",
    "object_of",
    "pack_expressions",
    "pixel_sha256",
    "plan_digest",
    "read_header",
    "read_manifest",
    "read_table",
    "sort_table",
    "thumbprint",
    "write_header",
    "write_manifest",
    "write_tables",
]
