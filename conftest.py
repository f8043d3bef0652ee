"""Shapes are checked at run time under the tests: the hook comes before the first import of mitsugo."""

from hypothesis import settings
from jaxtyping import install_import_hook

install_import_hook("mitsugo", "beartype.beartype")
settings.register_profile("any machine", deadline=None)  # a busy one takes longer, and is not wrong
settings.load_profile("any machine")
