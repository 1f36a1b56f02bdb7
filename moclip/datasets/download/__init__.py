"""Fetching a data set from its authors' server."""
