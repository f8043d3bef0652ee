"""Shapes are checked at run time under the tests: the hook comes before the first import of mitsugo."""

from jaxtyping import install_import_hook

install_import_hook("mitsugo", "beartype.beartype")
