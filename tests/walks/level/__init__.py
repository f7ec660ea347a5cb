"""Levels: how loud a recording is, by a network that learns it."""

from speechrnn.models.kinds import Kind

_HERE = "speechrnn.tasks.level"

KIND = Kind(
    name="level meter",
    noun="level meter",
    method="measure",
    primitive="levels",
    model=f"{_HERE}.model:LevelMeter",
    sessions={"level meter": f"{_HERE}.session:LevelSession"},
    run=f"{_HERE}.session:outcomes",
    training=f"{_HERE}.model:Leveling",
    evaluate=f"{_HERE}.session:evaluate",
    export=f"{_HERE}.model:LevelExporter",
    build=f"{_HERE}.model:for_manifest",
)
