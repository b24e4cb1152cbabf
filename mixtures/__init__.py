"""Mixtures that come with flan_jax, one small file a dataset."""
