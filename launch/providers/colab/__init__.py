"""Google Colab, through Google's own command line tool (docs/colab.md)."""
