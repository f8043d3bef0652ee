"""mitsugo teaches a computer to tell images apart: triplets in, an embedding and an honest accuracy out."""

__version__ = "0.1.0"
