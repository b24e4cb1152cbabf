"""Gin files that come with flan_jax: models/, mixtures/, runs/."""
