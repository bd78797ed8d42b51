from google.colab import called


def mount(point: str) -> None:
    called(f"mount {point}")


def flush_and_unmount() -> None:
    called("flush")
