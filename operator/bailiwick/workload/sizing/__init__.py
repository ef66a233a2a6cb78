"""How much memory a model needs, and how it is spread over devices. Pure: no file, no clock, no cluster.

A model's ``config.json`` and the headers of its safetensors files tell the bytes of weights and of KV cache; a class of
accelerators tells the memory. What is not known is refused with what to give, and never guessed.
"""
