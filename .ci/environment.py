"""Builds .venv from uv.lock with the python3 and pip at hand. Standard library only.

Changes nothing outside the repository: uv goes into .tools, everything else into .venv (.venv-bench, .venv-lowest).
Does nothing, and needs no network, when the environment already holds what uv.lock says.
"""

import hashlib
import os
import shlex
import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TOOLS = ROOT / ".tools"
STAMP = "kimi-vertex-environment"
# Dependency groups of pyproject.toml; in each environment, each contains the one before. `lowest` is not a group:
# it is `test` in the lowest versions that pyproject.toml allows, whatever the lock says.
LEVELS = {
    ".venv": ("demo", "test", "dev"),
    ".venv-bench": ("bench",),
    ".venv-lowest": ("lowest",),
    ".venv-recipes": ("recipes",),
    ".venv-beam": ("recipes-beam",),
}
OLDEST = (3, 11)
WINDOWS = os.name == "nt"
BIN = "Scripts" if WINDOWS else "bin"
SUFFIX = ".exe" if WINDOWS else ""
UV = TOOLS / "bin" / f"uv{SUFFIX}"


class SetupError(Exception):
    """The environment cannot be built; the text says what to do."""


def run(*command: object, env: dict[str, str]) -> None:
    subprocess.run([str(part) for part in command], cwd=ROOT, env=env, check=True, stdin=subprocess.DEVNULL)


def pip_settings() -> dict[str, str]:
    """What pip's files and PIP_* variables say, by option name; variables win over files."""
    listing = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True, check=False
    )
    found: dict[tuple[int, str], str] = {}
    rank = {"global": 0, "install": 1, ":env:": 2}
    for line in listing.stdout.splitlines():
        name, _, value = line.partition("=")
        section, _, option = name.partition(".")
        if section in rank:
            found[rank[section], option] = " ".join(shlex.split(value))
    return {option: value for (_, option), value in sorted(found.items())}


def uv_environment() -> dict[str, str]:
    """The environment for uv: pip's index, certificate and proxy settings in uv's terms."""
    env = {k: v for k, v in os.environ.items() if k not in {"VIRTUAL_ENV", "CONDA_PREFIX", "UV_PROJECT"}}
    env["UV_PYTHON_DOWNLOADS"] = "never"
    settings = pip_settings()
    timeout = settings.get("timeout", settings.get("default-timeout", "60"))
    translated = {
        "SSL_CERT_FILE": settings.get("cert"),
        "UV_DEFAULT_INDEX": None if "UV_INDEX_URL" in env else settings.get("index-url"),
        "UV_INSECURE_HOST": settings.get("trusted-host"),
        "UV_HTTP_TIMEOUT": str(int(float(timeout))),
        "HTTPS_PROXY": None if "https_proxy" in env else settings.get("proxy"),
        "HTTP_PROXY": None if "http_proxy" in env else settings.get("proxy"),
    }
    for name, value in translated.items():
        if value:
            env.setdefault(name, value)
    if not os.access(Path.home(), os.W_OK):
        env.setdefault("UV_CACHE_DIR", str(TOOLS / "cache"))
    return env


def pip_environment() -> dict[str, str]:
    return {
        **os.environ,
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "PIP_REQUIRE_VIRTUALENV": "0",
        "PIP_ROOT_USER_ACTION": "ignore",
    }


def fetch_uv() -> None:
    """Install uv beside the project; `--target` also works where the system's Python is locked."""
    if UV.exists():
        return
    print("==> fetching uv with pip into .tools", flush=True)
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-user", "--upgrade", "--only-binary=uv"]
    try:
        pinned = ("--require-hashes", "--requirement", ROOT / ".ci" / "uv.txt")
        run(*pip, "--target", TOOLS, *pinned, env=pip_environment())
    except subprocess.CalledProcessError:
        raise SetupError(
            f"{sys.executable} -m pip could not install uv. If it says 'No module named pip', install pip "
            "(Debian, Ubuntu: apt install python3-pip); if it found no index, see `pip config list`."
        ) from None


def python_of(venv: Path) -> Path:
    return venv / BIN / f"python{SUFFIX}"


def make_venv(venv: Path, env: dict[str, str]) -> None:
    """Keep a working environment, replace a broken or too old one."""
    check = f"import sys; sys.exit(sys.version_info < {OLDEST})"
    try:
        usable = (
            subprocess.run([python_of(venv), "-c", check], capture_output=True, check=False).returncode == 0
        )
    except OSError:
        usable = False
    if not usable:
        shutil.rmtree(venv, ignore_errors=True)
        run(UV, "venv", "--quiet", "--python", sys.executable, venv, env=env)


def install(level: str, venv: Path, env: dict[str, str]) -> None:
    """Install the locked versions, checked by hash, then the project itself, editable."""
    print(
        f"==> installing the locked packages for `{level}` into {venv.name} (at first, a minute or so)",
        flush=True,
    )
    locked = venv / "locked.txt"
    selection = ("--frozen", "--all-extras", "--no-default-groups", "--group", level, "--no-emit-project")
    run(UV, "export", "--quiet", *selection, "--output-file", locked, env=env)
    requirements = ("--no-deps", "--require-hashes", "--requirement", locked)  # the lock is complete
    project = ("--no-deps", "--no-build-isolation", "--editable", ROOT)
    try:
        uv_pip = (UV, "pip", "install", "--quiet", "--python", python_of(venv))
        run(*uv_pip, *requirements, env=env)
        run(*uv_pip, *project, env=env)
    except subprocess.CalledProcessError:
        print("==> uv could not install them; trying pip, with the settings it has here", flush=True)
        pip = (sys.executable, "-m", "pip", "--python", python_of(venv), "install", "--quiet", "--no-user")
        run(*pip, *requirements, env=pip_environment())
        run(*pip, *project, env=pip_environment())


def install_lowest(venv: Path, env: dict[str, str]) -> None:
    """Install the lowest versions that pyproject.toml allows of what it names; of the rest, the newest."""
    print(f"==> installing the lowest versions into {venv.name}", flush=True)
    uv_pip = (
        UV,
        "pip",
        "install",
        "--quiet",
        "--python",
        python_of(venv),
        "--upgrade",
        "--resolution",
        "lowest-direct",
    )
    run(*uv_pip, "--editable", ".[all,testing]", "--group", "test", env=env)


def prepare(level: str) -> None:
    """Bring the environment of `level` to it (or leave it at a higher one)."""
    name, levels = next((name, levels) for name, levels in LEVELS.items() if level in levels)
    venv = ROOT / name
    digest = hashlib.sha256(b"\0".join((ROOT / f).read_bytes() for f in ("uv.lock", "pyproject.toml")))
    mark = venv / STAMP
    stamp = mark.read_text(encoding="utf-8").split() if mark.exists() and python_of(venv).exists() else []
    if stamp[:1] == [digest.hexdigest()] and levels.index(stamp[1]) >= levels.index(level):
        return
    started = time.monotonic()
    fetch_uv()
    env = uv_environment()
    make_venv(venv, env)
    mark.unlink(missing_ok=True)
    if level == "lowest":
        install_lowest(venv, env)
    else:
        install(level, venv, env)
    mark.write_text(f"{digest.hexdigest()} {level}\n", encoding="utf-8")
    print(f"==> {name} is ready ({time.monotonic() - started:.0f} s)", flush=True)


def main() -> int:
    choices = ["uv", *(level for levels in LEVELS.values() for level in levels)]
    if len(sys.argv) != 2 or sys.argv[1] not in choices:
        print(f"usage: python3 {Path(__file__).name} {'|'.join(choices)}", file=sys.stderr)
        return 2
    try:
        if sys.version_info < OLDEST:
            raise SetupError(
                f"kimi-vertex needs Python {OLDEST[0]}.{OLDEST[1]} or newer; {sys.executable} is "
                f"{sys.version.split()[0]}. Name another one: `make PYTHON=python3.12 ...`."
            )
        if sys.argv[1] == "uv":
            fetch_uv()
        else:
            prepare(sys.argv[1])
    except SetupError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except subprocess.CalledProcessError as error:
        print(f"error: `{shlex.join(error.cmd)}` failed; its output above says why.", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
