"""What the README.md of a model says of it. For sources whose server does not read it for them."""

from __future__ import annotations

README = "README.md"
LIMIT = 1 << 20
"""Bytes; longer cards are no cards."""


def license_id(text: str) -> str:
    """Return the licence id of a model card's YAML header; empty when it names none, or not one."""
    from huggingface_hub import ModelCard

    try:
        found = getattr(ModelCard(text, ignore_metadata_errors=True).data, "license", None)
    except ValueError:  # no mapping, or no YAML
        return ""
    return found if isinstance(found, str) else ""
