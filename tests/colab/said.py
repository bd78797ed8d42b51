"""What the CLI (0.7.5) printed, recorded against the fake servers; paths and long lines cut."""

_TRACE = """[colab] Creating session 'mimir-run-a0001'...
Traceback (most recent call last):
  File "site-packages/colab_cli/client.py", line 358, in _post_assignment
    return self._issue_request(
           ^^^^^^^^^^^^^^^^^^^^
"""
_ORDER = (
    "colab_cli.client.ColabRequestError: Failed to issue request POST "
    "https://colab.research.google.com/tun/m/assign?nbh=b8d1fcd3_9b04_4c96_9233_58b592deab72"
    "........&variant=GPU&accelerator=T4: "
)
_LOGIN = """
To authorize colab-cli, visit this URL in any browser:

  https://accounts.google.com/o/oauth2/auth?response_type=code&client_id=7640&state=daaij

After approving, Google will display an authorization code.
Enter the authorization code: \nAborted.
"""


def http(reason: str) -> str:
    return f"{_TRACE}{_ORDER}{reason}\n"


def outcome(number: int) -> str:
    return f"""{_TRACE}pydantic_core._pydantic_core.ValidationError: 4 validation errors for \
PostAssignmentResponse
accelerator
  Field required [type=missing, input_value={{'outcome': {number}}}, input_type=dict]
    For further information visit https://errors.pydantic.dev/2.14/v/missing
"""


PRECONDITION = """[colab] Creating session 'mimir-run-a0001'...
[colab] Allocation refused (precondition failed). This can mean too many active sessions, or a \
temporary usage or capacity limit for the requested runtime. Run `colab stop` to free up a \
session, wait and retry, or try a different accelerator.
"""
ACCELERATOR = """[colab] Creating session 'mimir-run-a0001'...
[colab] Backend rejected accelerator 'A100'. You may not have quota or entitlement for this \
accelerator on your account. Try a different one (e.g. --gpu T4) or omit --gpu/--tpu for a CPU \
runtime.
"""
READY = "[colab] Creating session 'mimir-run-a0001'...\n[colab] Session READY.\n"
NO_LOGIN = _LOGIN
NO_ADC = """Traceback (most recent call last):
google.auth.exceptions.DefaultCredentialsError: File /nowhere was not found.
"""
UNREACHED = """requests.exceptions.ProxyError: HTTPSConnectionPool(\
host='colab.research.google.com', port=443): Max retries exceeded with url: \
/tun/m/assignments?authuser=0 (Caused by ProxyError('Unable to connect to proxy', \
NewConnectionError("HTTPSConnection(host='127.0.0.1', port=9): \
Failed to establish a new connection: [Errno 111] Connection refused")))
"""
TIMED_OUT = _TRACE + (
    "requests.exceptions.ReadTimeout: HTTPSConnectionPool(host='colab.research.google.com', "
    "port=443): Read timed out. (read timeout=120)\n"
)
NONE = "[colab] No active sessions found on server.\n"
STRUCK = "[colab] Pruned 1 stale local session(s).\n"
LINE = "[{name}] {endpoint} | Hardware: T4 | Shape: Standard | Variant: GPU\n"
USAGE = "Current balance: 0.00 compute units\nUsage rate: 0.00/hr\nActive assignments: 0\n"
UNITS = "Current balance: 1,083.40 compute units\nUsage rate: 0.00/hr\nActive assignments: 0\n"
DOWNLOAD_FAILED = (
    "[colab] Download failed: 500 Server Error: Internal Server Error for url: "
    "https://8080-x.colab.dev/api/contents/content/x?authuser=0&colab-runtime-proxy-token="
    "planted-token&content=1\n"
)
HEADERS = (
    "Request Headers: {'Authorization': 'Bearer ya29.planted-token', "
    "'X-Colab-Runtime-Proxy-Token': 'planted-token', 'X-Goog-Colab-Token': 'planted-token'} "
    '{"token": "planted-token", "refresh_token": "planted-token"}\n'
)
