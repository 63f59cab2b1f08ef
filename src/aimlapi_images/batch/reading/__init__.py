"""From job files to checked and stored jobs."""
