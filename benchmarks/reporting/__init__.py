"""Tables, verdicts, pages and pictures of results."""
