"""What is asked for: built and validated here, sent elsewhere."""
