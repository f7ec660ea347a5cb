"""The kind `language`."""
