"""What clients of a model notice: nothing, whatever happens to its pods."""
