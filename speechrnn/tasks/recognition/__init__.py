"""The kind `recognition`."""
