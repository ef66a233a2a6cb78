"""The demo: a real model served inside the border, and every attempt to cross it."""
