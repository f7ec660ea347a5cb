"""The kind `forecasting`."""
