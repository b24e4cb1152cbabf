"""Plain text, trained on as models are pretrained."""
