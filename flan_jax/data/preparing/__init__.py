"""What runs in the process that holds seqio and TensorFlow: it fills token stores and answers questions."""
