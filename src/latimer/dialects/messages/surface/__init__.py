"""What becomes of each part of the Messages API where an upstream speaks it itself."""
