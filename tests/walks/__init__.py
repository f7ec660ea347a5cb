"""What CONTRIBUTING's walks add, as toys."""
