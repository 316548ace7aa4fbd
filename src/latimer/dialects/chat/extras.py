"""What a chat answer holds beside its words and calls. Most of it has no place in Messages, so it is reported."""

from __future__ import annotations

from typing import Any

from latimer.dialects.asides import IMAGE, Asides
from latimer.wire import chat as wire


class Extras(Asides):
    """Seen chunk by chunk. `filtered` is what Azure's filter has found, in words."""

    def __init__(self) -> None:
        super().__init__()
        self.filtered = ""

    def of_choice(self, choice: wire.Choice) -> None:
        """What stands beside the message. Azure names there what its filter has found, most often nothing."""
        if choice.logprobs:
            self.drop("choices.0.logprobs", "they were not asked for, and Messages has no place for them")
        results = choice.content_filter_results
        if isinstance(results, dict):
            found = [name for name, result in results.items() if isinstance(result, dict) and result.get("filtered")]
            if found:
                self.filtered = f"the provider's filter found {', '.join(found)}"

    def other_choice(self, choice: wire.Choice) -> None:
        """Only one answer is ever asked for."""
        self.drop(f"choices.{choice.index}", "only one answer was asked for")

    def words(self, message: wire.ChoiceDelta, *, spoken: bool) -> str:
        """Text for what is no text: the transcript of audio, unless the words came as well, and a mark for images."""
        said = ""
        if message.annotations:
            self.drop("choices.0.message.annotations", "citations have no place without Anthropic's search results")
        if message.audio:
            transcript = message.audio.get("transcript") if isinstance(message.audio, dict) else None
            told = "its transcript is the text" if transcript or spoken else "it has no transcript"
            field = "choices.0.message.audio"
            self.lose(field, f"no sound in Messages; {told}", "approximated" if transcript else "dropped")
            said = transcript if isinstance(transcript, str) and not spoken else ""
        if message.images:
            field = "choices.0.message.images"
            self.lose(field, "an answer of Messages holds no images")
            said += IMAGE * (len(message.images) if isinstance(message.images, list) else 1)
        return said

    def of_usage(self, usage: wire.CompletionUsage) -> None:
        """Counts without a counter in Messages; they are part of those that it has."""
        inside, outside = usage.prompt_tokens_details, usage.completion_tokens_details
        self._count("usage.prompt_tokens_details.audio_tokens", inside and inside.audio_tokens)
        if outside is None:
            return
        self._count("usage.completion_tokens_details.audio_tokens", outside.audio_tokens)
        for name in ("accepted_prediction_tokens", "rejected_prediction_tokens"):
            self._count(f"usage.completion_tokens_details.{name}", getattr(outside, name))

    def _count(self, field: str, tokens: Any) -> None:
        if tokens:
            self.drop(field, "Messages does not count them apart")
