"""Who describes images for models that see none: the table `[vision]` of the configuration (docs/documents.md)."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

PROMPT = (
    "Describe this image for a language model that cannot see it and has to work with it. Transcribe all text in it"
    " exactly, code and numbers included. Then say what is shown: layout, the elements of a user interface and their"
    " states, what a diagram connects, the values of a chart. Say what cannot be read. No introduction, no guesses."
)


class Vision(Struct, frozen=True, forbid_unknown_fields=True):
    """Which model is asked, and within which limits."""

    describe_with: str = ""
    """`provider/model`; '' for nobody."""
    prompt: str = PROMPT
    max_tokens: Annotated[int, Meta(ge=1)] = 4000
    """Of a description, the model's own thinking included."""
    timeout_seconds: Annotated[float, Meta(gt=0)] = 90.0
    """For a description."""
    max_images: Annotated[int, Meta(ge=1)] = 20
    """Described for one request, the newest: a conversation that was resumed may hold hundreds."""
