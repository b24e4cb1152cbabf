"""Sentiment: whether a review or a tweet is negative or positive."""
