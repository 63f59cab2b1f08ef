"""Batches in object storage, and on a Dask cluster."""
