from google.colab import called


def unassign() -> None:
    called("unassign")
