"""Language models on the command line."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar

from speechrnn.faults import Faults
from speechrnn.models.commands import Command

_OPTIONS = "speechrnn.tasks.language.options"


class LanguageCommand(Command):
    """Generate texts."""

    summary = "Generate text with a recurrent language model."
    epilog = """\
Each sentence is on its own line. Without a PROMPT the model starts by itself.
"""
    verbs = frozenset({"train"})  # `speechrnn lm perplexity` measures models of n-grams, too
    source_optional = True
    source = ("PROMPT", "How a text begins.")
    formats: ClassVar[Mapping[str, bool]] = {"txt": True, "json": True}
    run_options = (f"{_OPTIONS}:GenerationOptions",)
    trained_on = "texts: files of sentences, one per line, or manifests"
    read_options = (f"{_OPTIONS}:TextOptions",)
    training_options = (f"{_OPTIONS}:LanguageTraining",)
    network_options = (f"{_OPTIONS}:LanguageNetwork",)

    def fits(self, line: Mapping[str, Any]) -> bool:
        """Never: a manifest with texts is of recordings, unless `--task generate` tells otherwise."""
        return False

    def read(self, paths: Iterable[str], *, faults: Faults | None = None, **options: Any) -> list[Any]:
        """See `Command`; they are sentences."""
        from speechrnn.data import sentences

        return list(sentences.read(paths, normalize=options.get("normalize_texts", True)))

    def expand_sources(self, sources: Sequence[str], **options: Any) -> list[tuple[Any, str]]:
        """See `Command`; a source is a prompt, not a path, and without one the model starts by itself."""
        return [(prompt, f"text{number}") for number, prompt in enumerate(sources or [""], start=1)]

    def render(self, answer: Any, format: str, *, name: str | None, **options: Any) -> str:
        """See `Command`."""
        return answer.text + "\n"
