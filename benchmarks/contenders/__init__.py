"""The optimizers that studies compare, and those that no library has."""
