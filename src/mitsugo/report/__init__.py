"""Values in, figures and one self-contained report.html out."""
