import json
import os


class SecretNotFoundError(Exception):
    pass


class NotebookAccessError(Exception):
    pass


class TimeoutException(Exception):
    pass


def get(name: str) -> str:
    with open(os.environ["STUB_SECRETS"]) as file:
        secrets = json.load(file)
    if secrets == "no UI":
        raise TimeoutException("Secrets can only be fetched when running from the Colab UI.")
    if name not in secrets:
        raise SecretNotFoundError(f"Secret {name} does not exist.")
    if secrets[name] is None:
        raise NotebookAccessError(f"Notebook does not have access to secret {name}")
    return str(secrets[name])
