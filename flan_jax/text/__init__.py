"""Text to ids and back, without seqio or TensorFlow: SentencePiece, Hugging Face tokenizers, chat templates."""
