"""Language models: recurrent networks that score sentences and generate text."""

import lazy_loader as _lazy

from speechrnn.models.kinds import Kind

KIND = Kind(
    name="language model",
    noun="language model",
    method="generate",
    primitive="scores",
    model="speechrnn.tasks.language.model:LanguageModel",
    sessions={"language model": "speechrnn.tasks.language.session:LanguageSession"},
    run="speechrnn.tasks.language.generation:outcomes",
    training="speechrnn.tasks.language.training:LanguageTask",
    evaluate="speechrnn.tasks.language.evaluation:evaluate",
    read="speechrnn.tasks.language.evaluation:read",
    export="speechrnn.tasks.language.export:LanguageExporter",
    command="speechrnn.tasks.language.command:LanguageCommand",
    build="speechrnn.tasks.language.building:for_manifest",
)

__getattr__, __dir__, __all__ = _lazy.attach(
    __name__,
    submod_attrs={
        "items": ["NextReport", "bigram", "most_popular", "next_items"],
        "model": ["LanguageModel"],
        "network": ["recurrent_lm"],
        "options": ["LanguageTraining"],
        "session": ["LanguageSession"],
    },
)
__all__ += ["KIND"]
