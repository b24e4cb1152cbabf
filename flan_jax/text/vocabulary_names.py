"""Names of vocabularies that are no files of the user's."""

STARTER, BYTES = "starter", "byte"  # the packaged one, and a byte a token (ByT5)
NAMES = (STARTER, BYTES)
