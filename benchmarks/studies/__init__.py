"""One module a study: its data, model, methods and metric."""
