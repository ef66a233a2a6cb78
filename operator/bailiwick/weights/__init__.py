"""Files of weights: which may be there, what they must be, and how they arrive. It runs in pods of models, offline."""
