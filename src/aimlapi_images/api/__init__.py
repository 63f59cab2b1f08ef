"""One HTTP exchange with the API or an image host."""
