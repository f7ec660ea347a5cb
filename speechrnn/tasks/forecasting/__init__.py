"""Forecasting: the next values of series, as quantiles; and anomalies."""

import lazy_loader as _lazy

from speechrnn.models.kinds import Kind

KIND = Kind(
    name="forecaster",
    noun="forecaster",
    method="forecast",
    primitive="predict_quantiles",
    model="speechrnn.tasks.forecasting.model:Forecaster",
    sessions={"forecaster": "speechrnn.tasks.forecasting.session:ForecasterSession"},
    run="speechrnn.tasks.forecasting.forecast:forecasts",
    training="speechrnn.tasks.forecasting.training:ForecasterTask",
    evaluate="speechrnn.tasks.forecasting.evaluation:evaluate_forecaster",
    export="speechrnn.tasks.forecasting.export:ForecasterExporter",
    command="speechrnn.tasks.forecasting.command:ForecasterCommand",
    build="speechrnn.tasks.forecasting.building:for_manifest",
)

__getattr__, __dir__, __all__ = _lazy.attach(
    __name__,
    submod_attrs={
        "evaluation": ["ForecastReport", "evaluate_forecaster", "print_report"],
        "forecast": ["Forecast", "forecasts"],
        "model": ["Forecaster"],
        "network": ["recurrent_forecaster"],
        "options": ["ForecasterTraining"],
        "session": ["ForecasterSession"],
    },
)
__all__ += ["KIND"]
